package doctor

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
)

// Bounds of what is read.
const (
	maxText  = 64 << 10
	maxTable = 16 << 20 // a package database, a kernel's list of modules
)

// Host is what the checks look at. All of its functions must be set; they are called by one goroutine.
type Host struct {
	// FS is the host's file system, from its root.
	FS fs.FS
	// Xattr returns an extended attribute of the file at an absolute path; fs.ErrNotExist when it has none.
	Xattr func(path, name string) ([]byte, error)
	// Space tells of the file system at an absolute path.
	Space func(path string) (Space, error)
	// Clock says whether somebody keeps the clock right.
	Clock func() (synchronized bool, err error)

	Now   time.Time
	Built time.Time // when this program's source was made; zero when unknown

	Config     config.Config
	ConfigFile string // absolute
	// User runs the engine; the zero value when nobody knows who that is.
	User User
	// Enter is the command that runs another one as User where the engine works; empty when User asks.
	Enter string

	Engine func() (Engine, error)
	// Redis returns the fields of INFO.
	Redis func() (map[string]string, error)
}

// User is the user for whom the engine runs.
type User struct {
	UID, GID int
	Name     string
}

// Engine is what Podman says. Lasting is true for the service that a gateway uses, whose cgroup is the one that counts.
type Engine struct {
	containers.Survey
	Lasting bool
}

// Space is what a file system has left for this user.
type Space struct{ Bytes, Free, Files, FreeFiles uint64 }

// rel turns an absolute path into one of fs.FS.
func rel(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name != "" {
		return name
	}
	return "."
}

// read returns a file's content, and an error for one that is longer than limit.
func (h *Host) read(name string, limit int64) ([]byte, error) {
	f, err := h.FS.Open(rel(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f, name, limit)
}

func bounded(r io.Reader, name string, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return content, nil
}

// text returns a short file's content without the white space around it.
func (h *Host) text(name string) (string, error) {
	content, err := h.read(name, maxText)
	return strings.TrimSpace(string(content)), err
}

// lines returns a longer file's lines.
func (h *Host) lines(name string) ([]string, error) {
	content, err := h.read(name, maxTable)
	if err != nil {
		return nil, err
	}
	return strings.Split(string(content), "\n"), nil
}

// unpacked returns what a gzip file holds.
func (h *Host) unpacked(name string) ([]byte, error) {
	packed, err := h.read(name, maxTable)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer r.Close()
	return bounded(r, name, maxTable)
}

// number reads a file with one number.
func (h *Host) number(name string) (int, error) {
	text, err := h.text(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// exists says whether there is such a file; of what cannot be seen it says no.
func (h *Host) exists(name string) bool {
	_, err := fs.Stat(h.FS, rel(name))
	return err == nil
}

// stat returns a file's mode and owner.
func (h *Host) stat(name string) (mode fs.FileMode, uid int, err error) {
	info, err := fs.Stat(h.FS, rel(name))
	if err != nil {
		return 0, 0, err
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, 0, errors.New("the file system names no owners")
	}
	return info.Mode(), int(stat.Uid), nil
}

// absent says whether an error means that there is no such file.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
