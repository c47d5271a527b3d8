//go:build e2e

package e2e_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// The testnet's addresses: documentation networks stand for the internet, a private one for a site's own.
const (
	farAddress     = "198.51.100.7" // a server on the internet
	far6Address    = "2001:db8:e2e::7"
	siteAddress    = "10.213.7.7" // a server in a private network
	hostAddress    = "198.51.100.1"
	hostSite       = "10.213.7.1"
	host6Address   = "2001:db8:e2e::1"
	indexName      = "index.example.org"
	nearName       = "near.example.org" // a name on the internet with a private address
	canaryPort     = "46464"
	nameserverPort = 53
)

// testnet is a network of its own behind a wire, with servers in it, and canaries at this machine's addresses.
type testnet struct {
	name   string
	ca     []byte // PEM
	far    atomic.Int32
	site   atomic.Int32
	canary atomic.Int32
	asked  atomic.Int32 // questions for names
}

func newTestnet(t *testing.T) *testnet {
	t.Helper()
	n := &testnet{name: "e2e-" + randomHex(t, 3)}
	wire := n.name[4:]
	ip(t, "netns", "add", n.name)
	t.Cleanup(func() { ip(t, "netns", "delete", n.name) }) // the wire goes with it
	ip(t, "link", "add", "h"+wire, "type", "veth", "peer", "name", "n"+wire, "netns", n.name)
	for _, a := range []string{hostAddress + "/24", hostSite + "/24", host6Address + "/64"} {
		ip(t, "address", "add", a, "dev", "h"+wire, "nodad")
	}
	for _, a := range []string{farAddress + "/24", siteAddress + "/24", far6Address + "/64"} {
		ip(t, "-n", n.name, "address", "add", a, "dev", "n"+wire, "nodad")
	}
	ip(t, "link", "set", "h"+wire, "up")
	ip(t, "-n", n.name, "link", "set", "n"+wire, "up")
	ip(t, "-n", n.name, "link", "set", "lo", "up")
	certificate := n.certificate(t)
	n.inside(t, func() {
		n.serve(t, n.listen(t, net.JoinHostPort(farAddress, "443")), &n.far, &certificate)
		n.serve(t, n.listen(t, net.JoinHostPort(siteAddress, "8080")), &n.site, nil)
		for _, a := range []string{farAddress, far6Address} {
			for _, port := range []string{"25", "80"} {
				n.serve(t, n.listen(t, net.JoinHostPort(a, port)), &n.far, nil)
			}
		}
		n.nameserver(t)
	})
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, ":"+canaryPort)
		if err != nil {
			t.Fatal(err)
		}
		n.serve(t, l, &n.canary, nil)
	}
	return n
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// inside calls fn where the servers are.
func (n *testnet) inside(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		namespace, err := os.Open(filepath.Join("/run/netns", n.name))
		if err == nil {
			defer namespace.Close()
			err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (n *testnet) listen(t *testing.T, address string) net.Listener {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return l
}

// serve is a package index that counts connections, behind TLS with a certificate.
func (n *testnet) serve(t *testing.T, l net.Listener, count *atomic.Int32, certificate *tls.Certificate) {
	server := &http.Server{Handler: index(t), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			count.Add(1)
		}
	}}
	if certificate != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*certificate}})
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
}

// index is a package index with one package, cellprobe.
func index(t *testing.T) http.Handler {
	const wheel = "cellprobe-1.0-py3-none-any.whl"
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for name, text := range map[string]string{
		"cellprobe.py":                     "answer = 42\n",
		"cellprobe-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: cellprobe\nVersion: 1.0\n",
		"cellprobe-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"cellprobe-1.0.dist-info/RECORD":   "cellprobe.py,,\n",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Error(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/cellprobe/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="/%s">%s</a>`, wheel, wheel)
	})
	mux.HandleFunc("/"+wheel, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(file.Bytes()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })
	return mux
}

// certificate is for the index by name, signed by itself.
func (n *testnet) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{indexName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	n.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// nameserver answers for the names of the testnet and no others.
func (n *testnet) nameserver(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(farAddress), Port: nameserverPort})
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFromUDP(packet)
			if err != nil {
				return
			}
			n.asked.Add(1)
			var m dnsmessage.Message
			if m.Unpack(packet[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			address := map[string]string{indexName + ".": farAddress, nearName + ".": siteAddress}[m.Questions[0].Name.String()]
			if address == "" {
				m.RCode = dnsmessage.RCodeNameError
			} else if m.Questions[0].Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteToUDP(answer, from)
			}
		}
	}()
}

// use has the gateway's processes ask the testnet's name server, and gives them a tap device where this machine's is for
// root alone: in their own mount namespace, where they have one.
func (n *testnet) use(t *testing.T, e environment) {
	t.Helper()
	enter := []string{}
	if own := filepath.Join("/run", e.instance, "ns", "mnt"); exec.Command("mountpoint", "-q", own).Run() == nil {
		enter = []string{"nsenter", "--mount=" + own, "--"}
	}
	dir, err := os.MkdirTemp("/run", "e2e-net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	resolv, tun := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "tun")
	if err := os.WriteFile(resolv, []byte("nameserver "+farAddress+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{resolv: "/etc/resolv.conf"}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	if _, err := output(e.as(ctx, "sh", "-c", "exec 3<>/dev/net/tun")); err != nil {
		if err := unix.Mknod(tun, unix.S_IFCHR, int(unix.Mkdev(10, 200))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(tun, 0o666); err != nil {
			t.Fatal(err)
		}
		files[tun] = "/dev/net/tun"
	}
	run := func(args ...string) {
		args = append(enter[:len(enter):len(enter)], args...)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	for from, to := range files {
		run("mount", "--bind", from, to)
		t.Cleanup(func() { run("umount", to) })
	}
}
