package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
)

// kernelProtocol is the one WebSocket subprotocol that bridges know. Others, among them those that carry tokens, are
// not passed on.
const kernelProtocol = "v1.kernel.websocket.jupyter.org"

// handshake is what of a client's upgrade request reaches the bridge.
type handshake struct {
	kernelID   string
	sessionID  string     // "" lets the bridge make one
	position   url.Values // where in the journal to begin
	key        string
	v1         bool // the client offers kernelProtocol
	userAgent  string
	connection string  // by which the bridge knows it, 32 hex digits
	receipts   *teller // set by offer
}

// readHandshake checks an upgrade request (RFC 6455 section 4.2.1).
func readHandshake(r *http.Request, kernelID string) (handshake, error) {
	keys := r.Header.Values("Sec-Websocket-Key")
	switch {
	case !listed(r.Header, "Connection", "upgrade") || !listed(r.Header, "Upgrade", "websocket"):
		return handshake{}, refuse(http.StatusBadRequest, "upgrade", "This path is for WebSockets only.")
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return handshake{}, &refusal{status: http.StatusUpgradeRequired, reason: "upgrade",
			message: "WebSockets of version 13 only.", header: http.Header{"Sec-Websocket-Version": {"13"}}}
	case r.Method != http.MethodGet || r.ContentLength != 0 || !r.ProtoAtLeast(1, 1):
		return handshake{}, refuse(http.StatusBadRequest, "upgrade", "A WebSocket begins with GET in HTTP/1.1 without a body.")
	case len(keys) != 1 || !validKey(keys[0]):
		return handshake{}, refuse(http.StatusBadRequest, "upgrade", "The Sec-WebSocket-Key is not one.")
	}
	query := r.URL.Query()
	session := query.Get("session_id")
	if len(session) > kernels.MaxSessionID || printable(session) != session {
		return handshake{}, invalid("The session_id must be at most 255 printable ASCII characters.")
	}
	begin, err := channelsPosition(query)
	if err != nil {
		return handshake{}, err
	}
	agent := printable(r.UserAgent())
	return handshake{
		connection: newConnectionID(), kernelID: kernelID, sessionID: session, position: begin, key: keys[0],
		v1:        offers(r.Header, kernelProtocol),
		userAgent: agent[:min(len(agent), maxUserAgent)],
	}, nil
}

func newConnectionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// listed reports whether a comma-separated header has the word, in any case.
func listed(h http.Header, name, word string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(h.Values(name), ","), ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), word)
	})
}

// offers reports whether the client offers that very subprotocol.
func offers(h http.Header, protocol string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(h.Values("Sec-Websocket-Protocol"), ","), ","), func(s string) bool {
		return strings.TrimSpace(s) == protocol
	})
}

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(raw) == 16 && len(key) == 24
}

// printable is s without what is not printable ASCII.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// accept is the answer to a key (RFC 6455 section 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// request is the upgrade request for the bridge: made anew, so that nothing of the client's slips through.
func (h handshake) request() []byte {
	query := maps.Clone(h.position)
	if h.sessionID != "" {
		query.Set("session_id", h.sessionID)
	}
	target := "/api/kernels/" + url.PathEscape(h.kernelID) + "/channels?" + query.Encode()
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: bridge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", target)
	fmt.Fprintf(&b, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", h.key)
	if h.v1 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", kernelProtocol)
	}
	fmt.Fprintf(&b, "%s: %s\r\n", kernels.ConnectionHeader, h.connection)
	if h.userAgent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", h.userAgent)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// response is the answer for the client after the bridge's.
func (h handshake) response() []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
	fmt.Fprintf(&b, "Sec-WebSocket-Accept: %s\r\n", accept(h.key))
	if h.v1 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", kernelProtocol)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

var (
	// errNoBridge: nobody listens yet; trying again may help.
	errNoBridge = errors.New("bridge does not listen")
	// errBridge: the bridge answered what it must not.
	errBridge = errors.New("bridge answered nonsense")
)

// offer sends the upgrade request on a fresh connection and reads the answer: at most maxHead bytes, for at most
// headTimeout or until ctx ends. It returns what the bridge sent after it. When the bridge refuses, status is what it
// answered and neither error nor upgrade happens.
func (h *handshake) offer(ctx context.Context, conn net.Conn) (early []byte, status int, err error) {
	_ = conn.SetDeadline(time.Now().Add(headTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	tell, err := send(conn, h.request())
	if err != nil {
		return nil, 0, fmt.Errorf("%w: send upgrade: %w", errNoBridge, err)
	}
	defer func() {
		if h.receipts == nil {
			tell.finish(0)
		}
	}()
	br := bufio.NewReaderSize(io.LimitReader(conn, maxHead), maxHead)
	if _, err := br.Peek(1); err != nil {
		return nil, 0, fmt.Errorf("%w: read answer: %w", errNoBridge, err)
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read answer: %w", errBridge, err)
	}
	_ = resp.Body.Close() // of a 101 there is none, and a refusal's is not wanted
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp.StatusCode, nil
	}
	protocol := resp.Header.Get("Sec-Websocket-Protocol")
	if resp.Header.Get("Sec-Websocket-Accept") != accept(h.key) || resp.Header.Get("Sec-Websocket-Extensions") != "" ||
		protocol != "" && !(h.v1 && protocol == kernelProtocol) {
		return nil, 0, fmt.Errorf("%w: its upgrade does not fit", errBridge)
	}
	h.v1 = protocol == kernelProtocol
	early, _ = br.Peek(br.Buffered())
	if !stop() { // the deadline of the past is or will be set
		return nil, 0, fmt.Errorf("upgrade: %w", context.Cause(ctx))
	}
	h.receipts = tell
	return bytes.Clone(early), resp.StatusCode, conn.SetDeadline(time.Time{})
}
