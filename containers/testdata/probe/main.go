// Command probe stands in for kernels and bridges in the integration tests of package containers. It is the only
// program of its image and tells what a process in its place sees and may do.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// report is what the tests read: one line of JSON, a kernel's on standard output, a bridge's to each who connects.
type report struct {
	UID, GID, PID int
	Groups        []int
	Umask         int
	Status        map[string]string // of /proc/self/status
	Env           []string
	Hostname      string
	Dir           string
	Init          string            // name of process 1
	Interfaces    []string          // of the network
	Mounts        map[string]string // mount point: options, comma, type, options of the file system
	Files         map[string]string // content, or why there is none
	Writes        map[string]string // directory: "ok" or why nothing can be written
	Limits        map[string][2]uint64
	Dials         map[string]string // socket: "ok" or why not
	Note          string            // what the last kernel left in the workspace
	Filled        map[string]int64  // directory: bytes that went in
}

func main() {
	if _, err := os.Stat("/quit"); err == nil {
		os.Exit(3)
	}
	var err error
	if filepath.Base(os.Args[0]) == "cellblock" {
		err = bridge(os.Args[1:])
	} else {
		err = kernel()
	}
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(1)
}

type connection struct {
	Transport, IP, Key string
	Shell              int `json:"shell_port"`
	IOPub              int `json:"iopub_port"`
	Stdin              int `json:"stdin_port"`
	Control            int `json:"control_port"`
	Heartbeat          int `json:"hb_port"`
}

func (c connection) sockets() []string {
	var all []string
	for _, port := range []int{c.Shell, c.IOPub, c.Stdin, c.Control, c.Heartbeat} {
		all = append(all, fmt.Sprintf("%s-%d", c.IP, port))
	}
	return all
}

func readConnection() (connection, error) {
	var c connection
	text, err := os.ReadFile("/run/cellblock/conf/connection.json")
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

// kernel opens a kernel's five sockets, says what it sees, and then names each signal it gets.
func kernel() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT)
	c, err := readConnection()
	if err != nil {
		return err
	}
	for _, socket := range c.sockets() {
		os.Remove(socket)
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		go func() {
			for {
				if conn, err := l.Accept(); err == nil {
					conn.Close()
				}
			}
		}()
	}
	r := look()
	note, _ := os.ReadFile("note")
	r.Note = string(note)
	if err := os.WriteFile("note", []byte(os.Getenv("NOTE")), 0o666); err != nil {
		r.Note = err.Error()
	}
	if os.Getenv("FILL") != "" {
		r.Filled = map[string]int64{"/tmp": fill("/tmp"), "/run/cellblock/sock": fill("/run/cellblock/sock")}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	for s := range signals {
		fmt.Println("signal:", s)
	}
	return nil
}

// bridge answers each connection at its gate with a report, after it has tried to connect to the kernel.
func bridge(args []string) error {
	var listen string
	for i, arg := range args {
		if arg == "--listen" && i+1 < len(args) {
			listen = strings.TrimPrefix(args[i+1], "unix:")
		}
	}
	os.Remove(listen)
	l, err := net.Listen("unix", listen)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		r := look()
		r.Dials = make(map[string]string)
		c, err := readConnection()
		if err != nil {
			return err
		}
		for _, socket := range c.sockets() {
			kernel, err := net.Dial("unix", socket)
			r.Dials[socket] = verdict(err)
			if err == nil {
				kernel.Close()
			}
		}
		json.NewEncoder(conn).Encode(r)
		conn.Close()
	}
}

func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func look() report {
	umask := syscall.Umask(0)
	syscall.Umask(umask)
	r := report{
		UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(), Umask: umask, Env: os.Environ(),
		Status: make(map[string]string), Mounts: make(map[string]string), Files: make(map[string]string),
		Writes: make(map[string]string), Limits: make(map[string][2]uint64),
	}
	r.Groups, _ = os.Getgroups()
	r.Hostname, _ = os.Hostname()
	r.Dir, _ = os.Getwd()
	comm, _ := os.ReadFile("/proc/1/comm")
	r.Init = strings.TrimSpace(string(comm))
	// Not net.Interfaces: a bridge may make no netlink socket.
	ifaces, _ := os.ReadDir("/sys/class/net")
	for _, i := range ifaces {
		r.Interfaces = append(r.Interfaces, i.Name())
	}
	lines("/proc/self/status", func(line string) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			r.Status[key] = strings.TrimSpace(value)
		}
	})
	lines("/proc/self/mountinfo", func(line string) {
		left, right, _ := strings.Cut(line, " - ")
		l, f := strings.Fields(left), strings.Fields(right)
		r.Mounts[l[4]] = l[5] + "," + f[0] + "," + f[2]
	})
	for _, file := range []string{
		"/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/proc/cmdline", "/proc/loadavg", "/proc/kallsyms", "/proc/modules",
		"/proc/diskstats", "/proc/vmstat", "/proc/locks", "/proc/swaps", "/run/cellblock/conf/connection.json", "/sys/fs/cgroup/memory.max",
		"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/cpu.max", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/oom_score_adj",
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			content = []byte(err.Error())
		}
		r.Files[file] = string(content)
	}
	for _, dir := range []string{
		"/", "/tmp", "/run", "/var/tmp", "/etc", "/dev", "/dev/shm", "/home/jovyan", "/run/cellblock/conf",
		"/run/cellblock/sock", "/run/cellblock/gate", "/sys/fs/cgroup",
	} {
		name := filepath.Join(dir, ".probe")
		err := os.WriteFile(name, nil, 0o600)
		r.Writes[dir] = verdict(err)
		os.Remove(name)
	}
	for name, n := range map[string]int{
		"core": syscall.RLIMIT_CORE, "nofile": syscall.RLIMIT_NOFILE, "fsize": syscall.RLIMIT_FSIZE, "stack": syscall.RLIMIT_STACK,
		"nproc": 6, "memlock": 8, "sigpending": 11, "msgqueue": 12,
	} {
		var l syscall.Rlimit
		if syscall.Getrlimit(n, &l) == nil {
			r.Limits[name] = [2]uint64{l.Cur, l.Max}
		}
	}
	return r
}

func lines(file string, fn func(string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fn(s.Text())
	}
}

// fill writes into a directory until no more goes in, and takes it away again.
func fill(dir string) int64 {
	name := filepath.Join(dir, ".fill")
	defer os.Remove(name)
	f, err := os.Create(name)
	if err != nil {
		return -1
	}
	defer f.Close()
	var total int64
	block := make([]byte, 16<<10)
	for total < 1<<30 {
		n, err := f.Write(block)
		total += int64(n)
		if err != nil {
			break
		}
	}
	return total
}
