//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// policyTime is within what a changed policy must hold for running kernels.
const policyTime = 15 * time.Second

const networkSettings = `networks:
  index: {allow: [` + indexName + `, "` + nearName + `:8080", "` + siteAddress + `:8080", "` + hostSite + `:` + canaryPort + `", "127.0.0.1:` + canaryPort + `"]}
  site: {allow: ["` + nearName + `:8080", "` + hostSite + `:` + canaryPort + `"], permit_private: [10.213.7.0/24]}
`

// tries defines get(url), which asks the proxy or nobody, and tcp(address, port), which connects.
const tries = `
import socket, urllib.request, urllib.error, os, ssl
def get(url):
    try: return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as e: return f'{e.code} {e.read().decode().strip()}'
    except Exception as e: return f'{type(e).__name__} {e}'
def tcp(address, port):
    try:
        socket.create_connection((address, port), timeout=8).close()
        return 'connected'
    except Exception as e: return f'{type(e).__name__} {e}'
def tunnel(target):
    s = socket.create_connection(('127.0.0.1', 3128), timeout=20)
    s.sendall(f'CONNECT {target} HTTP/1.1\r\n\r\n'.encode())
    return s.recv(4096).decode().replace('\r\n', ' ')
`

// TestNetwork has one kernel in each network policy, and a network that stands for the rest of the world.
func TestNetwork(t *testing.T) {
	world := newTestnet(t)
	world.use(t, readEnvironment(t))
	g := startGateway(t, networkSettings)
	// The canaries work.
	for _, a := range []string{hostAddress, hostSite, host6Address, "127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(a, canaryPort))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, policyTime, func() string {
		if n := world.canary.Load(); n != 5 {
			return fmt.Sprintf("%d of 5 connections at the canaries", n)
		}
		return ""
	})
	t.Run("none", func(t *testing.T) { networkNone(t, g, world) })
	t.Run("allowlist", func(t *testing.T) { networkAllowlist(t, g, world) })
	t.Run("internet", func(t *testing.T) { networkInternet(t, g, world) })
	if n := world.canary.Load(); n != 5 {
		t.Errorf("kernels reached this machine %d times", n-5)
	}
}

// kernelWith starts a kernel of a new person with a network policy.
func kernelWith(t *testing.T, g *gateway, name, policy string) (person, string, *channels) {
	t.Helper()
	p := person{url: g.url, token: g.user(t, name, "--network", policy)}
	id := p.newKernel(t)
	c := p.connect(t, id, randomHex(t, 16))
	c.execute(t, tries)
	return p, id, c
}

// says fails unless an expression's value begins with want.
func says(t *testing.T, c *channels, expression, want string) {
	t.Helper()
	if got := strings.TrimSpace(c.execute(t, "print("+expression+")")); !strings.HasPrefix(got, want) {
		t.Errorf("%s: %q, want %q", expression, got, want)
	}
}

func networkNone(t *testing.T, g *gateway, world *testnet) {
	_, id, c := kernelWith(t, g, "nora", "none")
	says(t, c, "os.listdir('/sys/class/net')", "['lo']")
	says(t, c, "'http_proxy' in os.environ", "False")
	for _, a := range []string{farAddress, siteAddress, hostAddress, "169.254.169.254", far6Address} {
		says(t, c, fmt.Sprintf("tcp(%q, 80)", a), "OSError [Errno 101] Network is unreachable")
	}
	says(t, c, "tcp('127.0.0.1', 3128)", "ConnectionRefusedError")
	says(t, c, fmt.Sprintf("tcp(%q, 443)", indexName), "gaierror")
	if world.far.Load()+world.site.Load() != 0 {
		t.Error("a kernel without network reached a server")
	}
	if out := g.cli(t, "kernels", "explain", id); !strings.Contains(out, "network  none; the user's policy is none") {
		t.Error(out)
	}
}

func networkAllowlist(t *testing.T, g *gateway, world *testnet) {
	p, id, c := kernelWith(t, g, "alice", "index")
	says(t, c, "os.listdir('/sys/class/net')", "['lo']")
	says(t, c, fmt.Sprintf("tcp(%q, 443)", farAddress), "OSError [Errno 101] Network is unreachable")
	c.execute(t, fmt.Sprintf("open('ca.pem', 'w').write(%q)", world.ca))
	pip := "import subprocess, sys\nr = subprocess.run([sys.executable, '-m', 'pip', 'install', '--no-cache-dir', '--cert', 'ca.pem', '--index-url', 'https://" +
		indexName + "/simple', '--target', 'lib', 'cellprobe'], capture_output=True, text=True)\n"
	if got := c.execute(t, pip+"print(r.returncode, r.stdout, r.stderr)"); !strings.HasPrefix(got, "0 ") || !strings.Contains(got, "Successfully installed cellprobe-1.0") {
		t.Errorf("pip says %s", got)
	}
	says(t, c, "(sys.path.insert(0, 'lib'), __import__('cellprobe').answer)[1]", "42")
	if world.far.Load() == 0 {
		t.Error("pip installed without the index")
	}
	far, site := world.far.Load(), world.site.Load()
	refused := "HTTP/1.1 403 Forbidden "
	for _, target := range []string{
		siteAddress + ":8080", nearName + ":8080", hostSite + ":" + canaryPort, "127.0.0.1:" + canaryPort,
		farAddress + ":443", indexName + ":22", "169.254.169.254:80", "[::ffff:127.0.0.1]:" + canaryPort, "2130706433:" + canaryPort,
	} {
		says(t, c, fmt.Sprintf("tunnel(%q)", target), refused)
	}
	says(t, c, "get('http://169.254.169.254/latest/meta-data/')", "403 Cellblock: the network policy index does not allow 169.254.169.254:80.")
	if got := c.execute(t, "open('/run/cellblock/egress/x', 'w')"); got != "" {
		t.Errorf("the socket's directory: %q", got)
	}
	if world.far.Load() != far || world.site.Load() != site {
		t.Error("a refused request reached a server")
	}
	if out := g.cli(t, "kernels", "explain", id); !strings.Contains(out, "network  allowlist; the user's policy is index") || !strings.Contains(out, indexName+":443") {
		t.Error(out)
	}
	policyChanges(t, g, p, id)
	if log, err := os.ReadFile(g.log.Name()); err != nil || !strings.Contains(string(log), "msg=egress tenant=alice kernel="+id+" method=CONNECT name="+indexName+" port=443 verdict=allowed") {
		t.Errorf("no line about it in the log (%v)", err)
	}
}

// policyChanges changes alice's policy while her kernel runs, and ends the gateway.
func policyChanges(t *testing.T, g *gateway, p person, id string) {
	c := p.connect(t, id, randomHex(t, 16))
	becomes := func(expression, want string) {
		t.Helper()
		eventually(t, policyTime, func() string {
			if got := strings.TrimSpace(c.execute(t, "print("+expression+")")); !strings.HasPrefix(got, want) {
				return fmt.Sprintf("%s: %q, want %q", expression, got, want)
			}
			return ""
		})
	}
	near := "get('http://" + nearName + ":8080/')"
	g.cli(t, "user", "set", "alice", "--network", "site")
	becomes(near, "here")
	says(t, c, fmt.Sprintf("tunnel('%s:%s')", hostSite, canaryPort), "HTTP/1.1 403 Forbidden ")
	g.cli(t, "user", "set", "alice", "--network", "none")
	becomes(near, "403 Cellblock: ")
	g.cli(t, "user", "set", "alice", "--network", "site")
	becomes(near, "here")
	g.kill(t)
	g.start(t)
	c = p.connect(t, id, randomHex(t, 16))
	becomes(near, "here")
	p.call(t, "POST", "/api/kernels/"+id+"/restart", "{}")
	c.execute(t, tries)
	becomes(near, "here")
}

func networkInternet(t *testing.T, g *gateway, world *testnet) {
	t.Run("without the filter nothing runs", func(t *testing.T) { unfiltered(t, g) })
	_, id, c := kernelWith(t, g, "ines", "internet")
	asked := world.asked.Load()
	says(t, c, "get('http://"+indexName+"/')", "here")
	if world.asked.Load() == asked {
		t.Error("nobody asked the name server")
	}
	says(t, c, fmt.Sprintf("tcp(%q, 443)", farAddress), "connected")
	says(t, c, fmt.Sprintf("tcp(%q, 80)", far6Address), "connected")
	far, site := world.far.Load(), world.site.Load()
	for _, row := range []struct{ address, port string }{
		{hostAddress, canaryPort}, {hostSite, canaryPort}, {host6Address, canaryPort}, {"10.0.2.2", canaryPort}, {"fd00::2", canaryPort},
		{siteAddress, "8080"}, {"::ffff:" + siteAddress, "8080"}, {nearName, "8080"}, {"169.254.169.254", "80"}, {"fd00:ec2::254", "80"},
		{"100.100.100.200", "80"}, {"224.0.0.251", "80"}, {"fe80::1", "80"}, {"64:ff9b::" + siteAddress, "8080"},
		{farAddress, "25"}, {far6Address, "25"}, {"10.0.2.3", "80"},
	} {
		got := strings.TrimSpace(c.execute(t, fmt.Sprintf("print(tcp(%q, %s))", row.address, row.port)))
		if !strings.Contains(got, "Error") {
			t.Errorf("%s port %s: %q", row.address, row.port, got)
		}
	}
	says(t, c, "tcp('127.0.0.1', "+canaryPort+")", "ConnectionRefusedError") // its own loopback
	if world.far.Load() != far || world.site.Load() != site {
		t.Error("a refused connection reached a server")
	}
	if out := g.cli(t, "kernels", "explain", id); !strings.Contains(out, "network  internet; the user's policy is internet") {
		t.Error(out)
	}
}

// unfiltered has Podman make the same container without the annotation for which the hook is called.
func unfiltered(t *testing.T, g *gateway) {
	run := func(options ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), commandTime)
		defer cancel()
		args := []string{"podman", "run", "--rm", "--network=slirp4netns:allow_host_loopback=false,enable_ipv6=true", "--cap-drop=all",
			"--volume", g.program() + "-shim:/run/cellblock/shim:ro"}
		args = append(append(args, options...), "localhost/cellblock/kernel-python:latest", "/run/cellblock/shim", "--filtered", "--", "echo", "it runs")
		return output(g.as(ctx, args...))
	}
	if out, err := run("--annotation", "io.cellblock.network=internet"); err != nil || out != "it runs\n" {
		t.Errorf("with the filter: %q, %v", out, err)
	}
	if out, err := run(); err == nil || out != "" || !strings.Contains(err.Error(), "the packet filter is not in force") {
		t.Errorf("without: %q, %v", out, err)
	}
}
