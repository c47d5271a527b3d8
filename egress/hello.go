package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	httpsPort = 443
	// maxHello is far above what any client sends: with post-quantum keys it is 2 KiB.
	maxHello      = 32 << 10
	recordHeader  = 5
	typeHandshake = 22
	extensionECH  = 0xfe0d // encrypted_client_hello, RFC 9849
)

// hello looks at the first bytes of a connection: when they are TLS, the name in them must be the one that was asked for.
// At port 443 they must be TLS.
type hello struct {
	want  target
	held  []byte // not yet passed on
	tried int    // whole TLS records at the last look: a byte more is no reason for another
	done  bool
}

// errHello is the end of a connection whose first bytes say something else than its request. Its texts are shown.
type errHello string

func (e errHello) Error() string { return string(e) }

// feed takes the next bytes from the kernel and returns what may be passed on: nothing while the hello is incomplete.
func (h *hello) feed(p []byte) ([]byte, error) {
	if h.done {
		return p, nil
	}
	h.held = append(h.held, p...)
	if h.held[0] != typeHandshake {
		if h.want.port == httpsPort {
			return nil, errHello("no TLS on port 443")
		}
		return h.pass(), nil
	}
	long := len(h.held) > maxHello
	whole := records(h.held)
	if !long && whole == h.tried {
		return nil, nil
	}
	h.tried = whole
	info, err := parseHello(h.held)
	switch unfinished := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
	case unfinished && !long:
		return nil, nil
	case unfinished:
		return nil, errHello("a TLS greeting without end")
	case err != nil:
		return nil, errHello("not a TLS greeting")
	}
	if err := h.check(info); err != nil {
		return nil, err
	}
	return h.pass(), nil
}

func (h *hello) pass() []byte {
	p := h.held
	h.held, h.done = nil, true
	return p
}

func (h *hello) check(info *tls.ClientHelloInfo) error {
	if slices.Contains(info.Extensions, extensionECH) {
		return errHello("a TLS greeting that hides its name")
	}
	// Addresses have no place in a greeting (RFC 6066).
	if h.want.address.IsValid() && info.ServerName == "" {
		return nil
	}
	if !strings.EqualFold(strings.TrimSuffix(info.ServerName, "."), h.want.name) {
		return errHello("a TLS greeting for another name")
	}
	return nil
}

// records counts the whole TLS records that data begins with.
func records(data []byte) (n int) {
	for len(data) >= recordHeader {
		size := recordHeader + int(data[3])<<8 + int(data[4])
		if len(data) < size {
			break
		}
		data = data[size:]
		n++
	}
	return n
}

var errParsed = errors.New("parsed")

// parseHello has the standard library's TLS server read a greeting and gives up before it answers. io.EOF and
// io.ErrUnexpectedEOF mean that data is only the begin of one.
func parseHello(data []byte) (*tls.ClientHelloInfo, error) {
	var info *tls.ClientHelloInfo
	server := tls.Server(unanswered{r: bytes.NewReader(data)}, &tls.Config{
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, errParsed
		},
	})
	if err := server.Handshake(); info == nil {
		return nil, err
	}
	return info, nil
}

// unanswered is a connection on which everything was said already and nobody listens.
type unanswered struct{ r io.Reader }

func (c unanswered) Read(p []byte) (int, error)     { return c.r.Read(p) }
func (unanswered) Write(p []byte) (int, error)      { return len(p), nil }
func (unanswered) Close() error                     { return nil }
func (unanswered) LocalAddr() net.Addr              { return nil }
func (unanswered) RemoteAddr() net.Addr             { return nil }
func (unanswered) SetDeadline(time.Time) error      { return nil }
func (unanswered) SetReadDeadline(time.Time) error  { return nil }
func (unanswered) SetWriteDeadline(time.Time) error { return nil }
