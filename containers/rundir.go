package containers

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cellblock.io/cellblock/kernels"
)

// kernelDir is the directory of one kernel below the run directory: conf, which both containers read, and gate, where
// the bridge's socket appears. The sockets between kernel and bridge are not here: they are in a memory file system of
// their own, which no kernel can fill beyond its size or leave anything behind in.
type kernelDir string

// Everything is readable and gate is writable for everybody: only the run directory above keeps others out, since the
// containers' users are strangers to this one.
const (
	confMode = 0o755
	gateMode = 0o777
	fileMode = 0o644
)

// hosts is all that a kernel knows of names. There is no other host to name.
const hosts = "127.0.0.1\tlocalhost kernel\n::1\tlocalhost\n"

func runDir(root, handle string) kernelDir { return kernelDir(filepath.Join(root, handle)) }

func (d kernelDir) conf() string            { return filepath.Join(string(d), "conf") }
func (d kernelDir) gate() string            { return filepath.Join(string(d), "gate") }
func (d kernelDir) egress() string          { return filepath.Join(string(d), "egress") }
func (d kernelDir) file(name string) string { return filepath.Join(string(d), "conf", name) }

// prepareRunDir makes the directory above all kernels' directories, or checks that an existing one is ours alone.
func prepareRunDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return CheckPrivate(path, info, os.Geteuid())
}

// CheckPrivate returns an error unless info is that of a directory of this user, closed to all others.
func CheckPrivate(path string, info fs.FileInfo, uid int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	case !ok || int(stat.Uid) != uid:
		return fmt.Errorf("%s does not belong to user %d", path, uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to other users (mode %04o, want 0700)", path, info.Mode().Perm())
	}
	return nil
}

// claim makes the directory, which claims the handle: kernels.ErrExists when there is one already. No kernel starts among
// what another left.
func (d kernelDir) claim() error {
	err := os.Mkdir(string(d), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", kernels.ErrExists, err)
	}
	return err
}

// fill makes what a claimed directory holds, with a fresh key in the connection file.
func (d kernelDir) fill(kernelName string, network Network) error {
	dirs := map[string]os.FileMode{d.conf(): confMode, d.gate(): gateMode}
	var resolv []byte
	switch network {
	case Allowlist:
		dirs[d.egress()] = confMode
	case Internet:
		resolv = []byte("nameserver " + SlirpDNS + "\n")
	}
	for path, mode := range dirs {
		if err := os.Mkdir(path, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			return err
		}
	}
	connection, err := newConnection(kernelName)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{connectionFile: connection, "resolv.conf": resolv, "hosts": []byte(hosts)} {
		if err := os.WriteFile(d.file(name), content, fileMode); err != nil {
			return err
		}
		if err := os.Chmod(d.file(name), fileMode); err != nil {
			return err
		}
	}
	return nil
}

// newConnection returns a Jupyter connection file for sockets <socketPrefix>-1 to -5 with a new key of 256 bits.
func newConnection(kernelName string) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return json.Marshal(struct {
		Transport  string `json:"transport"`
		IP         string `json:"ip"`
		Shell      int    `json:"shell_port"`
		IOPub      int    `json:"iopub_port"`
		Stdin      int    `json:"stdin_port"`
		Control    int    `json:"control_port"`
		Heartbeat  int    `json:"hb_port"`
		Scheme     string `json:"signature_scheme"`
		Key        string `json:"key"`
		KernelName string `json:"kernel_name"`
	}{"ipc", socketPrefix, 1, 2, 3, 4, 5, "hmac-sha256", hex.EncodeToString(key), kernelName})
}

// remove takes the directory away. It follows no symbolic links and succeeds when there is no directory.
func (d kernelDir) remove() error { return os.RemoveAll(string(d)) }
