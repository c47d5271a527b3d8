package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/egress"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels"
)

// shimName is the program for kernels with a network, which lies beside this one.
const shimName = "cellblock-shim"

// shimPath is where it should be.
func shimPath() string {
	program, err := os.Executable()
	if err != nil {
		return "/usr/local/bin/" + shimName
	}
	return filepath.Join(filepath.Dir(program), shimName)
}

// policies reads the network policies of the configuration; the error names everything that is wrong with them.
func policies(cfg config.Config) (map[string]egress.Policy, error) {
	named := map[string]egress.Policy{}
	var errs []error
	for name, n := range cfg.Networks {
		p, err := egress.NewPolicy(name, egress.Settings{
			Allow: n.Allow, PermitPrivate: n.PermitPrivate, BytesPerDay: int64(n.BytesPerDay), Flows: n.Flows,
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("networks.%s: %w", name, err))
		}
		named[name] = p
	}
	return named, errors.Join(errs...)
}

// connections says how the kernels of each policy are connected.
func connections(cfg config.Config) map[string]containers.Network {
	all := map[string]containers.Network{config.None: containers.NoNetwork, config.Internet: containers.Internet}
	for name := range cfg.Networks {
		all[name] = containers.Allowlist
	}
	return all
}

// outlets is the egress proxy with the policies that hold, as the engine wants it.
type outlets struct {
	proxy    *egress.Proxy
	policies *egress.Policies
}

var _ containers.Egress = (*outlets)(nil)

func newOutlets(cfg config.Config, log *slog.Logger) (*outlets, error) {
	named, err := policies(cfg)
	if err != nil {
		return nil, err
	}
	p := egress.NewPolicies(named)
	return &outlets{
		proxy:    egress.New(egress.Config{Policy: p.For, Refuse: proxies(cfg.Egress.Refuse), Log: log}),
		policies: p,
	}, nil
}

// Open implements containers.Egress.
func (o *outlets) Open(k containers.Outlet) error {
	if k.Policy != "" {
		o.policies.Set(string(k.Record.Owner), k.Policy)
	}
	return o.proxy.Open(egress.Kernel{Handle: k.Record.Handle, ID: k.Record.ID, Owner: string(k.Record.Owner)}, k.Socket)
}

// Close implements containers.Egress.
func (o *outlets) Close(handle string) { o.proxy.Close(handle) }

// Apply implements containers.Egress.
func (o *outlets) Apply(_ context.Context, inForce map[kernels.Owner]string) error {
	for owner, policy := range inForce {
		o.policies.Set(string(owner), policy)
	}
	return nil
}
