package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is one of the other gateways, in its own environment of Python packages.
type peer struct {
	name, environment string
	// arguments start it on a port with a token. All else is its default, but for what unlimited adds.
	arguments func(port, token string) []string
	// unlimited lets all output pass: the default limits are meant for browsers. Empty where there are none.
	unlimited string
}

const unlimitedRate = "--ZMQChannelsWebsocketConnection.limit_rate=False"

var peers = []peer{
	{"jupyter_server", "jupyter-server", func(port, token string) []string {
		return []string{"jupyter-server", "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port=" + port, "--ServerApp.port_retries=0",
			"--IdentityProvider.token=" + token, "--log-level=WARN"}
	}, unlimitedRate},
	{"kernel_gateway", "kernel-gateway", func(port, token string) []string {
		return []string{"jupyter-kernelgateway", "--KernelGatewayApp.ip=127.0.0.1", "--KernelGatewayApp.port=" + port,
			"--KernelGatewayApp.port_retries=0", "--KernelGatewayApp.auth_token=" + token, "--log-level=WARN"}
	}, unlimitedRate},
	{"enterprise_gateway", "enterprise-gateway", func(port, token string) []string {
		return []string{"jupyter-enterprisegateway", "--EnterpriseGatewayApp.ip=127.0.0.1", "--EnterpriseGatewayApp.port=" + port,
			"--EnterpriseGatewayApp.port_retries=0", "--EnterpriseGatewayApp.auth_token=" + token, "--log-level=WARN"}
	}, ""},
}

// start starts a peer, without limits on output or with its default ones.
func (p peer) start(ctx context.Context, b *bench, limited bool) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "cellblock-bench-")
	if err != nil {
		return nil, err
	}
	name, token := p.name, "0123456789abcdef"
	arguments := p.arguments(address[strings.LastIndexByte(address, ':')+1:], token)
	if limited {
		name += ", default limits"
	} else if p.unlimited != "" {
		arguments = append(arguments, p.unlimited)
	}
	s := &server{name: name, url: "http://" + address, token: token, purge: func() { os.RemoveAll(home) }}
	if s.log, err = os.Create(filepath.Join(b.logs, strings.ReplaceAll(name, " ", "-")+".log")); err != nil {
		return nil, err
	}
	// As many open files as Cellblock, which raises its limit by itself, may have.
	arguments[0] = filepath.Join(b.cache, p.environment, "bin", arguments[0])
	s.process = exec.Command("sh", append([]string{"-c", `ulimit -n "$(ulimit -H -n)"; exec "$@"`, "sh"}, arguments...)...)
	s.process.Dir = home
	s.process.Env = []string{"HOME=" + home, "PATH=" + filepath.Join(b.cache, p.environment, "bin") + ":/usr/bin:/bin", "LANG=C.UTF-8",
		"JUPYTER_PATH=" + filepath.Join(b.cache, "share"), "JUPYTER_RUNTIME_DIR=" + home}
	if err := s.begin(ctx, "/api/kernelspecs"); err != nil {
		return nil, fmt.Errorf("%w (log of %s)", err, s.log.Name())
	}
	return s, nil
}
