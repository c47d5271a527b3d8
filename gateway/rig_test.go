package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cellblock.io/cellblock/gateway"
)

// rig is a gateway on doubles.
type rig struct {
	*gateway.Gateway
	domain *domain
	people *people
}

// newRig makes one; change may be nil.
func newRig(t testing.TB, change func(*gateway.Config)) *rig {
	t.Helper()
	r := &rig{domain: newDomain(), people: &people{}}
	cfg := gateway.Config{
		Kernels: r.domain, Auth: r.people, Version: "1.2.3", Hosts: []string{"example.com", "gw.example"}, EnvAllow: []string{"KERNEL_*", "LANG"},
		Dial: noDial,
		Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "page %s", r.URL.Path)
		}),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = g
	return r
}

func noDial(context.Context, string) (net.Conn, error) {
	return nil, errors.New("no bridge in this test")
}

// header is a list of header names and values.
type header []string

// alice is her token.
var alice = header{"Authorization", "token alice-token"}

// do sends one request to the handler.
func (r *rig) do(method, target, body string, h header) *httptest.ResponseRecorder {
	return r.from("192.0.2.1:1234", method, target, body, h)
}

// from is do for a caller at that address. The headers Host, Query and TLS stand for what is not one.
func (r *rig) from(addr, method, target, body string, h header) *httptest.ResponseRecorder {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, content)
	req.RemoteAddr = addr
	for i := 0; i+1 < len(h); i += 2 {
		switch h[i] {
		case "Host":
			req.Host = h[i+1]
		case "Query":
			req.URL.RawQuery = h[i+1]
		case "TLS":
			req.TLS = &tls.ConnectionState{}
		default:
			req.Header.Add(h[i], h[i+1])
		}
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// reasonOf reads an error's body, which must be the object that clients expect.
func reasonOf(t *testing.T, w *httptest.ResponseRecorder) (reason, message string) {
	t.Helper()
	var body struct{ Message, Reason *string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Message == nil || body.Reason == nil {
		t.Fatalf("not an error object: %d %q", w.Code, w.Body)
	}
	if *body.Reason == "" || *body.Message == "" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("incomplete error: %v %s", w.Header(), w.Body)
	}
	return *body.Reason, *body.Message
}

// refusingBridge answers every upgrade with 503.
func refusingBridge(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		_, _ = http.ReadRequest(bufio.NewReader(theirs))
		_, _ = io.WriteString(theirs, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		_ = theirs.Close()
	}()
	return ours, nil
}
