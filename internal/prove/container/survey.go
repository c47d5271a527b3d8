package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/prove"
)

// question is what Survey is asked. The zero value of a field asks nothing.
type question struct {
	PID     int      `json:"pid"`  // whose root directory the directories are in
	Dirs    []string `json:"dirs"` // to be searched
	Layer   string   `json:"layer"`
	Needles []string `json:"needles"`

	Init int    `json:"init"` // process 1 of a place that has no process name space: it is ended, or still there
	End  int    `json:"end"`  // whose processes, as this name space numbers users, are ended
	UID  int    `json:"uid"`  // whose processes are looked for, as this name space numbers users
	Name string `json:"name"` // what mounts are looked for by
}

type answer struct {
	Found []prove.Find `json:"found"`
	Left  []string     `json:"left"`
}

// Bounds of a search: hostile code may have made what is searched.
const (
	maxFiles = 300_000
	maxFile  = 8 << 20 // bytes searched of one file
	maxAll   = 1 << 30
)

// Survey answers one question. It runs as root of the engine's user name space, on directories that hostile code fills:
// it follows no symbolic link, opens regular files only and never waits for one.
func Survey(in io.Reader, out io.Writer) error {
	var q question
	if err := json.NewDecoder(io.LimitReader(in, 1<<20)).Decode(&q); err != nil {
		return fmt.Errorf("read the question: %w", err)
	}
	var a answer
	var errs []error
	if q.PID > 0 {
		s := search{needles: q.Needles}
		for _, dir := range q.Dirs {
			errs = append(errs, s.below("/proc/"+strconv.Itoa(q.PID)+"/root", dir))
		}
		if q.Layer != "" {
			errs = append(errs, s.below(q.Layer, "."))
		}
		a.Found = s.found
	}
	if q.End > 0 {
		for _, pid := range processes(q.End) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, fmt.Errorf("end process %d: %w", pid, err))
			}
		}
	}
	if q.Init > 0 && runner(q.Init) {
		if q.End > 0 {
			errs = append(errs, syscall.Kill(q.Init, syscall.SIGKILL))
		} else {
			a.Left = append(a.Left, fmt.Sprintf("process %d of the place", q.Init))
		}
	}
	if q.UID > 0 {
		for _, pid := range processes(q.UID) {
			a.Left = append(a.Left, fmt.Sprintf("process %d of user %d", pid, q.UID))
		}
	}
	if q.Name != "" {
		mounts, err := mounts(q.Name)
		a.Left, errs = append(a.Left, mounts...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// search looks for needles in names and contents of files.
type search struct {
	needles []string
	found   []prove.Find
	files   int
	bytes   int64
}

// below searches one directory. os.Root keeps to it, whatever links are in the way.
func (s *search) below(place, dir string) error {
	outer, err := os.OpenRoot(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the container has ended, and its memory file systems with it
	}
	if err != nil {
		return err
	}
	defer outer.Close()
	root, err := outer.OpenRoot(strings.TrimPrefix(dir, "/") + "/.")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be opened even by root is gone meanwhile
		}
		s.files++
		if s.files > maxFiles || s.bytes > maxAll {
			return fmt.Errorf("%s holds more than can be searched", dir)
		}
		s.look([]byte(name), path.Join(dir, name))
		if d.Type().IsRegular() {
			s.file(root, name, path.Join(dir, name))
		}
		return nil
	})
}

// file searches the beginning of a file.
func (s *search) file(root *os.Root, name, shown string) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return
	}
	s.bytes += int64(len(text))
	s.look(text, shown)
}

func (s *search) look(text []byte, where string) {
	for i, needle := range s.needles {
		if bytes.Contains(text, []byte(needle)) {
			s.found = append(s.found, prove.Find{Needle: i, Where: strconv.QuoteToASCII(where)})
		}
	}
}

// runner reports whether a process is a place's: its number may be another's by now.
func runner(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(text, []byte(containers.ConfDir+"/runner.py"))
}

// processes lists those of a user.
func processes(uid int) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	var found []int
	for _, dir := range dirs {
		var stat syscall.Stat_t
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && syscall.Stat(dir, &stat) == nil && int(stat.Uid) == uid {
			found = append(found, pid)
		}
	}
	return found
}

// mounts lists those with a name in them.
func mounts(name string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var left []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.Contains(line, name) {
			left = append(left, "mount "+fields[4])
		}
	}
	return left, nil
}
