package prove

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Redis is where a key is planted; nil for none.
type Redis interface {
	Set(ctx context.Context, key, value string) error
	Get(ctx context.Context, key string) (string, error)
	Delete(ctx context.Context, key string) error
}

// canary is a secret and where it was hidden.
type canary struct {
	name  string
	nonce string
	path  string // of the file that has it; "" when it is in no file
}

// plant is everything that was hidden on this machine before the run.
type plant struct {
	mark  string // in names and in arguments; no secret
	open  string // a directory that everybody on this machine may write to; mounted without control "mounts"
	knock string // with which a probe introduces itself to the listeners

	canaries []canary
	missing  []string // what could not be planted, and why
	targets  targets
	process  *exec.Cmd
	redis    Redis
	undo     []func()

	redisValue string
	private    string // a directory that only this user may enter
	signalled  string // the file that the process makes when it gets a signal

	mu       sync.Mutex
	contacts []contact
}

// contact is one that a listener had.
type contact struct {
	where string
	probe string // what it said to be; "" when it did not knock
}

// targets is what a probe is told.
type targets struct {
	Knock    string           `json:"knock"`
	Mark     string           `json:"mark"`
	Errno    uint             `json:"errno"`
	HostName string           `json:"host_name_sha256"`
	Files    []string         `json:"files"`
	Write    []string         `json:"write"`
	TCP      [][2]any         `json:"tcp"`
	UDP      [][2]any         `json:"udp"`
	Abstract []string         `json:"abstract"`
	Unix     []string         `json:"unix"`
	Bounds   map[string]int64 `json:"bounds"`
	// Places are directories inside, by what they are for.
	Places map[string]string `json:"places"`
}

// nonce returns a random word of 128 bits.
func nonce() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// secret makes a canary that is in no file.
func (p *plant) secret(name string) string {
	n := nonce()
	p.canaries = append(p.canaries, canary{name: name, nonce: n})
	return n
}

// newPlant hides canaries everywhere on this machine. remove takes all away again.
func newPlant(ctx context.Context, cfg Config) (*plant, error) {
	id := nonce()[:12]
	p := &plant{mark: "cellblock-canary-" + id, knock: nonce(), redis: cfg.Redis}
	p.targets.Knock, p.targets.Mark = p.knock, p.mark
	if host, err := os.Hostname(); err == nil {
		sum := sha256.Sum256([]byte(host))
		p.targets.HostName = hex.EncodeToString(sum[:])
	}
	for _, step := range []func() error{
		p.openDirectory,
		func() error { return p.gatewayFiles(cfg.Dirs) },
		func() error { return p.ownFiles(cfg.Files) },
		p.sharedMemory, p.program, p.listeners,
		func() error { return p.key(ctx) },
	} {
		if err := step(); err != nil {
			p.remove()
			return nil, fmt.Errorf("plant canaries: %w", err)
		}
	}
	return p, nil
}

// openDirectory makes a directory that any user of this machine could use.
func (p *plant) openDirectory() error {
	dir, err := os.MkdirTemp("", p.mark+"-")
	if err != nil {
		return err
	}
	p.open = dir
	p.undo = append(p.undo, func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	p.targets.Write = append(p.targets.Write, dir)
	if p.private, err = os.MkdirTemp("", p.mark+"-"); err != nil {
		return err
	}
	p.undo = append(p.undo, func() { os.RemoveAll(p.private) })
	// For a probe that looks for programs with another user's rights. It does nothing.
	tool := filepath.Join(dir, "tool")
	if err := errors.Join(os.WriteFile(tool, nil, 0o755), os.Chmod(tool, 0o755|os.ModeSetuid)); err != nil {
		return err
	}
	return p.file(filepath.Join(dir, "secret"), "a file in the machine's temporary directory", 0o644)
}

// file hides a canary in a file that probes are told of.
func (p *plant) file(path, name string, mode os.FileMode) error {
	c := canary{name: name, nonce: nonce(), path: path}
	if err := os.WriteFile(path, []byte(c.nonce+"\n"), mode); err != nil {
		return err
	}
	p.undo = append(p.undo, func() { os.Remove(path) })
	p.canaries = append(p.canaries, c)
	p.targets.Files = append(p.targets.Files, path)
	return os.Chmod(path, mode)
}

// gatewayFiles puts a file into each of the gateway's directories. One that it may not write to is no error.
func (p *plant) gatewayFiles(dirs map[string]string) error {
	for name, dir := range dirs {
		err := p.file(filepath.Join(dir, p.mark), "a file in "+name, 0o600)
		switch {
		case errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist):
			p.missing = append(p.missing, "no canary in "+name+": this user may not write there")
		case err != nil:
			return err
		}
	}
	return nil
}

// ownFiles makes canaries of what is in files of the gateway: of their longest lines.
func (p *plant) ownFiles(files map[string]string) error {
	const long = 24 // of a line that is found nowhere else
	for name, path := range files {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		longest := ""
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); len(line) > len(longest) {
				longest = line
			}
		}
		if len(longest) < long {
			p.missing = append(p.missing, name+" is no canary: it has no line of "+fmt.Sprint(long)+" characters")
			continue
		}
		p.canaries = append(p.canaries, canary{name: name, nonce: longest})
		p.targets.Files = append(p.targets.Files, path)
	}
	return nil
}

// sharedMemory hides a secret where a shared IPC name space would show it.
func (p *plant) sharedMemory() error {
	err := p.file(filepath.Join("/dev/shm", p.mark), "shared memory of the machine", 0o644)
	if err != nil {
		p.missing = append(p.missing, "no canary in shared memory: "+err.Error())
	}
	return nil
}

// program starts a process with secrets in its arguments and its environment. Its end during the run is evidence, too.
func (p *plant) program() error {
	p.signalled = filepath.Join(p.private, "signalled")
	const idle = `trap ': >"$1"' USR1; while :; do sleep 1; done`
	p.process = exec.Command("/bin/sh", "-c", idle, p.mark+"-"+p.secret("the arguments of a process"), p.signalled)
	p.process.Env = []string{"PATH=/usr/bin:/bin", "CELLBLOCK_SECRET=" + p.mark + "-" + p.secret("the environment of a process")}
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.process.Start(); err != nil {
		return fmt.Errorf("start a process: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.process.Wait() }() // killed by remove
	p.undo = append(p.undo, func() { _ = syscall.Kill(-p.process.Process.Pid, syscall.SIGKILL); <-ended })
	return nil
}

// key puts a secret into Redis.
func (p *plant) key(ctx context.Context) error {
	if p.redis == nil {
		p.missing = append(p.missing, "no canary in Redis: there is none")
		return nil
	}
	p.redisValue = p.secret("a key in Redis")
	if err := p.redis.Set(ctx, p.mark, p.redisValue); err != nil {
		return err
	}
	p.undo = append(p.undo, func() { _ = p.redis.Delete(context.WithoutCancel(ctx), p.mark) }) // it expires by itself
	return nil
}

// changed says what of the canaries is not as it was planted, apart from what listeners heard.
func (p *plant) changed(ctx context.Context) []string {
	var found []string
	for _, c := range p.canaries {
		if c.path == "" {
			continue
		}
		if text, err := os.ReadFile(c.path); err != nil || strings.TrimSpace(string(text)) != c.nonce {
			found = append(found, c.name+" was changed")
		}
	}
	if p.redis != nil {
		if value, err := p.redis.Get(ctx, p.mark); err != nil || value != p.redisValue {
			found = append(found, "a key in Redis was changed, or Redis does not answer")
		}
	}
	if os.Remove(p.signalled) == nil {
		found = append(found, "a process of the machine got a signal")
	}
	if syscall.Kill(p.process.Process.Pid, 0) != nil {
		found = append(found, "a process of the machine was ended")
	}
	return found
}

// nonces are what the observer searches for.
func (p *plant) nonces() []string {
	list := make([]string, len(p.canaries))
	for i, c := range p.canaries {
		list[i] = c.nonce
	}
	return list
}

// marks returns the names of probes that have left their mark in the open directory, and takes the marks away.
func (p *plant) marks() []string {
	entries, err := os.ReadDir(p.open)
	if err != nil {
		return nil
	}
	var probes []string
	for _, e := range entries {
		if probe, ok := strings.CutPrefix(e.Name(), "mark-"); ok {
			probes = append(probes, probe)
			os.Remove(filepath.Join(p.open, e.Name()))
		}
	}
	return probes
}

// remove takes everything away, what was planted last first.
func (p *plant) remove() {
	for i := len(p.undo) - 1; i >= 0; i-- {
		p.undo[i]()
	}
	p.undo = nil
}

// addresses are those of this machine that a place without a network must not reach.
func addresses() []string {
	list := []string{"127.0.0.1", "::1"}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return list
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && len(list) < 6 {
			list = append(list, n.IP.String())
		}
	}
	return list
}
