package bridge

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"cellblock.io/cellblock/kernels/wire"
)

// connectionFile is what a Jupyter kernel is started with (jupyter_client "connection files"): where its sockets are
// and the key that signs messages.
type connectionFile struct {
	Transport       string `json:"transport"`
	IP              string `json:"ip"` // for ipc the prefix of the sockets' paths
	Key             string `json:"key"`
	SignatureScheme string `json:"signature_scheme"`
	KernelName      string `json:"kernel_name"`
	ShellPort       int    `json:"shell_port"`
	IOPubPort       int    `json:"iopub_port"`
	StdinPort       int    `json:"stdin_port"`
	ControlPort     int    `json:"control_port"`
	HeartbeatPort   int    `json:"hb_port"` // 0: the kernel has none
}

// maxConnectionFile bounds what is read of a connection file.
const maxConnectionFile = 64 << 10

func readConnectionFile(path string) (*connectionFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open connection file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConnectionFile))
	if err != nil {
		return nil, fmt.Errorf("read connection file: %w", err)
	}
	c := connectionFile{Transport: "tcp", SignatureScheme: "hmac-sha256"}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("connection file %s: %w", path, err)
	}
	return &c, c.validate()
}

func (c *connectionFile) validate() error {
	if c.Transport != "tcp" && c.Transport != "ipc" {
		return fmt.Errorf("connection file: transport %q is not tcp or ipc", c.Transport)
	}
	if c.Key != "" && c.SignatureScheme != "hmac-sha256" {
		return fmt.Errorf("connection file: signature_scheme %q is not hmac-sha256", c.SignatureScheme)
	}
	for ch, port := range c.ports() {
		if (port < 1 || port > 65535) && (port != 0 || ch != heartbeat) {
			return fmt.Errorf("connection file: %s_port %d", ch, port)
		}
	}
	return nil
}

func (c *connectionFile) ports() map[wire.Channel]int {
	return map[wire.Channel]int{wire.Shell: c.ShellPort, wire.IOPub: c.IOPubPort, wire.Stdin: c.StdinPort, wire.Control: c.ControlPort,
		heartbeat: c.HeartbeatPort}
}

// address returns what net.Dial needs for one channel.
func (c *connectionFile) address(ch wire.Channel) (network, address string) {
	port := strconv.Itoa(c.ports()[ch])
	if c.Transport == "ipc" {
		return "unix", c.IP + "-" + port
	}
	return "tcp", net.JoinHostPort(c.IP, port)
}
