package doctor_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
)

// now is when all tests happen.
var now = time.Date(2026, time.November, 28, 12, 0, 0, 0, time.UTC)

// fake is a host that a test may change before it is examined.
type fake struct {
	t      *testing.T
	files  fstest.MapFS
	closed []string // what this user may not read
	host   doctor.Host
	engine doctor.Engine
	redis  map[string]string
	xattrs map[string][]byte // by path

	engineErr, redisErr, clockErr, spaceErr error
	synchronized                            bool
	space                                   doctor.Space
}

// goodFiles reads them once.
var goodFiles = sync.OnceValues(func() (*txtar.Archive, error) { return txtar.ParseFile("testdata/good.txtar") })

// newKey makes one key for all certificates.
var newKey = sync.OnceValues(func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })

// good returns the host of testdata/good.txtar, which has nothing to complain of.
func good(t *testing.T) *fake {
	t.Helper()
	archive, err := goodFiles()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, files: fstest.MapFS{}, xattrs: map[string][]byte{}, synchronized: true,
		space: doctor.Space{Bytes: 100 << 30, Free: 50 << 30, Files: 10_000_000, FreeFiles: 5_000_000},
		redis: map[string]string{"redis_version": "7.0.15", "maxmemory": "0", "maxmemory_policy": "noeviction"}}
	for _, file := range archive.Files {
		f.write(file.Name, string(file.Data))
	}
	f.dir("run/cellblock", 0o771|fs.ModeSticky, 0)
	f.dir("var/lib/cellblock", 0o771|fs.ModeSticky, 0)
	f.dir("run/cellblock/kernels", 0o700, 990)
	f.dir("var/lib/cellblock/redis", 0o700, 991)
	f.dir("run/cellblock/front", 0o700, 991)
	f.own("run/cellblock/front/serve.lock", 0o600, 991).Sys = &syscall.Stat_t{Uid: 991, Ino: 4242, Dev: unix.Mkdev(8, 1)}
	f.own("etc/cellblock/config.yaml", 0o640, 0)
	f.own("var/lib/cellblock/secret.key", 0o600, 991)
	f.own("usr/bin/newuidmap", 0o755|fs.ModeSetuid, 0)
	f.own("usr/bin/newgidmap", 0o755, 0)
	f.xattrs["/usr/bin/newgidmap"] = []byte{1, 0, 0, 2, 1 << 6, 0, 0, 0, 0, 0, 0, 0}
	f.own("dev/net/tun", fs.ModeDevice|fs.ModeCharDevice|0o666, 0)
	f.certificate(now.AddDate(0, -1, 0), now.AddDate(0, 2, 0))

	c := config.Default()
	c.Listen, c.TLS = "0.0.0.0:8888", config.TLS{Cert: "/etc/cellblock/cert.pem", Key: "/etc/cellblock/key.pem"}
	c.Podman.Seccomp = "/etc/cellblock/seccomp.json"
	f.host = doctor.Host{Now: now, Built: now.AddDate(0, -1, 0), Config: c, ConfigFile: "/etc/cellblock/config.yaml",
		User: doctor.User{UID: 990, GID: 990, Name: "cellblock"}}
	caps := containers.Capabilities{Version: "6.2.0", Runtime: "crun", RuntimeVersion: "crun version 1.30\ncommit: 1234", CgroupVersion: "v2",
		Rootless: true, Seccomp: true, Root: 4194304, Driver: "overlay", Native: true, GraphRoot: "/var/lib/cellblock/containers", Init: "/usr/libexec/podman/catatonit"}
	f.engine = doctor.Engine{Lasting: true, Survey: containers.Survey{
		Capabilities: caps.Given([]string{"cpuset", "cpu", "io", "memory", "pids"}),
		Images: map[string]containers.ImageSurvey{
			c.BridgeImage:       {Fault: "it is no kernel's"},
			c.Kernels.Images[0]: {Layers: []string{"/layers/upper", "/layers/lower"}},
		},
	}}
	return f
}

// write replaces a file, of root's.
func (f *fake) write(name, content string) {
	f.t.Helper()
	if strings.HasSuffix(name, ".gz") {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write([]byte(content))
		w.Close()
		content = packed.String()
	}
	f.own(name, 0o644, 0).Data = []byte(content)
}

// own sets a file's mode and owner, and makes it when it is missing.
func (f *fake) own(name string, mode fs.FileMode, uid int) *fstest.MapFile {
	file := f.files[name]
	if file == nil {
		file = &fstest.MapFile{}
		f.files[name] = file
	}
	file.Mode, file.Sys = mode, &syscall.Stat_t{Uid: uint32(uid)}
	return file
}

func (f *fake) dir(name string, mode fs.FileMode, uid int) { f.own(name, fs.ModeDir|mode, uid) }

// remove takes away a file, or a directory with all below it.
func (f *fake) remove(name string) {
	f.t.Helper()
	found := false
	for file := range f.files {
		if file == name || strings.HasPrefix(file, name+"/") {
			delete(f.files, file)
			found = true
		}
	}
	if !found {
		f.t.Fatalf("there is no %s to remove", name)
	}
}

// certificate writes one and its key.
func (f *fake) certificate(from, until time.Time) {
	f.t.Helper()
	key, err := newKey()
	if err != nil {
		f.t.Fatal(err)
	}
	f.certify(key, from, until)
}

func (f *fake) certify(key *ecdsa.PrivateKey, from, until time.Time) {
	f.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until, DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("etc/cellblock/cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	f.write("etc/cellblock/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	f.own("etc/cellblock/key.pem", 0o640, 0)
}

// examine returns the finding of one check.
func (f *fake) examine(id string) doctor.Finding {
	f.t.Helper()
	findings := f.all(id)
	if len(findings) != 1 {
		f.t.Fatalf("%d findings of %s", len(findings), id)
	}
	return findings[0]
}

func (f *fake) all(selectors ...string) []doctor.Finding {
	f.host.FS = guardedFS{f.files, f.closed}
	f.host.Engine = func() (doctor.Engine, error) { return f.engine, f.engineErr }
	f.host.Redis = func() (map[string]string, error) { return f.redis, f.redisErr }
	f.host.Clock = func() (bool, error) { return f.synchronized, f.clockErr }
	f.host.Space = func(string) (doctor.Space, error) { return f.space, f.spaceErr }
	f.host.Xattr = func(path, _ string) ([]byte, error) {
		if value, there := f.xattrs[path]; there {
			return value, nil
		}
		return nil, fs.ErrNotExist
	}
	return doctor.Examine(&f.host, selectors...)
}

// guardedFS is a file system of which this user may not see all.
type guardedFS struct {
	fstest.MapFS
	closed []string
}

func (g guardedFS) refuse(op, name string) error {
	for _, closed := range g.closed {
		if name == closed || strings.HasPrefix(name, closed+"/") {
			return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
		}
	}
	return nil
}

func (g guardedFS) Open(name string) (fs.File, error) {
	if err := g.refuse("open", name); err != nil {
		return nil, err
	}
	return g.MapFS.Open(name)
}

func (g guardedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := g.refuse("open", name); err != nil {
		return nil, err
	}
	return g.MapFS.ReadDir(name)
}

func (g guardedFS) Stat(name string) (fs.FileInfo, error) {
	if err := g.refuse("stat", name); err != nil {
		return nil, err
	}
	return g.MapFS.Stat(name)
}
