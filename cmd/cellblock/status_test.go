package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// healthz is a gateway that says of itself only how it is.
func healthz(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cells/healthz" {
			w.Write([]byte(body))
		}
	})
}

const (
	wellBody    = `{"status":"degraded","problems":["Kernels run without limits on: cpu."]}`
	failingBody = `{"status":"failing","problems":["Redis does not answer."]}`
)

func TestStatus(t *testing.T) {
	server := httptest.NewServer(healthz(wellBody))
	defer server.Close()
	d := newOffice(t, "base_url: /cells/")
	d.env["CELLBLOCK_LISTEN"] = server.Listener.Addr().String()
	d.must("user", "add", "alice")
	d.record("alice", someID)
	s := decode[state](t, d.must("status", "--json"))
	if s.Status != "degraded" || len(s.Problems) != 1 || s.Users == nil || *s.Users != 1 || s.Kernels["running"] != 1 || s.URL != server.URL+"/cells" {
		t.Errorf("%+v", s)
	}
	text := d.must("status")
	for _, want := range []string{"degraded, " + server.URL, "without limits on: cpu.", "users    1", "kernels  1  1 running"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestStatusOfWhatDoesNotServe(t *testing.T) {
	failing := httptest.NewServer(healthz(failingBody))
	defer failing.Close()
	other := httptest.NewServer(healthz("hello"))
	defer other.Close()
	d := newDesk(t, "base_url: /cells/")
	for address, want := range map[string]string{
		failing.Listener.Addr().String(): "the gateway cannot serve: Redis does not answer.",
		other.Listener.Addr().String():   "something else than a gateway answers: 200 OK",
		"127.0.0.1:1":                    "the gateway does not answer at http://127.0.0.1:1/cells",
	} {
		d.env["CELLBLOCK_LISTEN"] = address
		r := d.run("status", "--json")
		if r.code != exitFailure || !strings.Contains(r.err, want) {
			t.Errorf("%s: status %d, %s", address, r.code, r.err)
		}
		if s := decode[state](t, r.out); s.Status == "degraded" || s.Users != nil {
			t.Errorf("%s: %+v", address, s)
		}
	}
}

// Over TLS the one certificate of the configuration is accepted, whatever name it is for, and no other.
func TestStatusOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(healthz(wellBody))
	defer server.Close()
	server.Config.ErrorLog = nil
	own := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(own, encode(server.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newOffice(t, "base_url: /cells/\ntls: {cert: "+own+", key: /unused}\n")
	d.env["CELLBLOCK_LISTEN"] = server.Listener.Addr().String()
	d.must("status")
	other := *server.Certificate()
	other.Raw = append([]byte{}, other.Raw...)
	other.Raw[len(other.Raw)-1]++
	if err := os.WriteFile(own, encode(&other), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := d.run("status"); r.code != exitFailure || !strings.Contains(r.err, "its certificate is not the first of tls.cert") {
		t.Errorf("status %d: %s", r.code, r.err)
	}
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
