package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/egress"
	"cellblock.io/cellblock/internal/config"
)

func filterCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "filter",
		Short: "Put up a container's packet filter (Podman's hook)",
		Long: `Reads the state of a container that is being made (OCI runtime specification) from standard input and puts the packet
filter of network policy "internet" into its network namespace, before anything runs there. Podman calls it, by the hook
that deploy/up installs. When it fails the container does not start.`,
		Args:   exactly(),
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return putUpFilter(a.In, cfg)
		},
	}
}

// maxState bounds a container's state.
const maxState = 1 << 20

func putUpFilter(in io.Reader, cfg config.Config) error {
	var state struct {
		PID int `json:"pid"`
	}
	if err := json.NewDecoder(io.LimitReader(in, maxState)).Decode(&state); err != nil {
		return fmt.Errorf("read the container's state: %w", err)
	}
	if state.PID <= 0 {
		return errors.New("the container's state names no process")
	}
	host, err := egress.HostAddresses()
	if err != nil {
		return err
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return errors.New("there is no program nft: install the package nftables")
	}
	return inNetworkOf(state.PID, func() error {
		cmd := exec.Command(nft, "-f", "-")
		cmd.Stdin = strings.NewReader(egress.Filter(proxies(cfg.Egress.Refuse), host, netip.MustParseAddr(containers.SlirpDNS)))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %.400s", err, out)
		}
		return nil
	})
}

// inNetworkOf calls fn, and starts the processes that fn starts, in the network namespace of a process.
func inNetworkOf(pid int, fn func() error) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("find the container's network: %w", err)
	}
	defer namespace.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the container's network: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}
