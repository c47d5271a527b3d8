package bridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// Limits of the bridge's HTTP side. Only the gateway reaches it, or the one who started a bridge by hand.
const (
	maxRequestHead = 16 << 10
	headTime       = 10 * time.Second
	serverStop     = 3 * time.Second
	readBuffer     = 512 // of each client; what is larger is read past it
)

// server is the HTTP side of a bridge.
type server struct {
	hub        *hub
	cfg        Config
	upgrader   websocket.Upgrader
	clients    sync.WaitGroup
	ctx        context.Context // ends with the bridge; a hijacked connection outlives its request's
	pages      chan struct{}   // of the journal, that are being written
	largePages chan struct{}   // of these, the large ones
}

// listen opens "unix:/path", whose socket everybody who reaches its directory may use, or "host:port".
func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		return corkable{l}, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		l.Close()
		return nil, fmt.Errorf("open socket to the gateway: %w", err)
	}
	return corkable{l}, nil
}

// corkable wraps accepted connections, so that a WebSocket's writes can be collected.
type corkable struct{ net.Listener }

func (l corkable) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &batchConn{Conn: c}, nil
}

// run serves l until ctx ends and all connections have.
func (s *server) run(ctx context.Context, l net.Listener) error {
	s.ctx = ctx
	// The library would keep the HTTP server's buffers, 4 KB each way. Its own for writing is never used: control frames
	// need none, and messages are batchConn's.
	s.upgrader = websocket.Upgrader{Subprotocols: []string{wire.SubprotocolV1}, ReadBufferSize: readBuffer, WriteBufferPool: new(sync.Pool)}
	if l.Addr().Network() == "unix" {
		s.upgrader.CheckOrigin = func(*http.Request) bool { return true } // the gateway has checked it
	}
	web := &http.Server{Handler: s.routes(), ReadHeaderTimeout: headTime, MaxHeaderBytes: maxRequestHead}
	var g errgroup.Group
	g.Go(func() error {
		if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(shut)
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), serverStop)
		defer cancel()
		if web.Shutdown(stopping) != nil {
			web.Close()
		}
	})
	err := g.Wait()
	if !stop() {
		<-shut
	}
	s.clients.Wait()
	return err
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /api/kernels/{id}", s.model)
	mux.HandleFunc("GET /api/kernels/{id}/channels", s.channels)
	mux.HandleFunc("GET /api/kernels/{id}/journal", s.showJournal)
	mux.HandleFunc("GET /control/status", s.status)
	mux.HandleFunc("POST /control/interrupt", s.interrupt)
	mux.HandleFunc("POST "+kernels.LeavePath+"{connection}", s.leave)
	mux.HandleFunc("POST /control/shutdown", s.shutdown)
	mux.HandleFunc("GET /control/ready", s.ready)
	mux.HandleFunc("POST "+newsPath[kernels.Warned], s.tell(s.hub.warn))
	mux.HandleFunc("POST "+newsPath[kernels.Died], s.tell(s.hub.died))
	mux.HandleFunc("POST "+newsPath[kernels.Over], s.tell(s.hub.end))
	return mux
}

// known answers 404 for any id but the bridge's own, when it has one.
func (s *server) known(w http.ResponseWriter, r *http.Request) bool {
	id := r.PathValue("id")
	if s.cfg.KernelID == "" && kernels.ValidID(id) || s.cfg.KernelID == id {
		return true
	}
	writeJSON(w, http.StatusNotFound, map[string]any{"message": "Kernel does not exist: " + id, "reason": nil})
	return false
}

// channels is the kernel's WebSocket (jupyter_server's GET /api/kernels/{id}/channels). The request ends with the
// upgrade: its goroutine and the HTTP server's buffers are more than a silent client needs.
func (s *server) channels(w http.ResponseWriter, r *http.Request) {
	s.clients.Add(1) // while the HTTP server still waits for this request
	defer s.clients.Done()
	if !s.known(w, r) {
		return
	}
	sessionID := r.URL.Query().Get("session_id")
	if len(sessionID) > kernels.MaxSessionID {
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": "session_id is longer than 255 bytes", "reason": "invalid"})
		return
	}
	if sessionID == "" {
		sessionID = newID()
	}
	asked, err := parseAsks(r.URL.Query())
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": err.Error(), "reason": "invalid"})
		return
	}
	since := s.hub.beginning(asked) // before the client can know that it is connected: from then on it misses nothing
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	out, ok := ws.NetConn().(*batchConn)
	if !ok { // every listener of listen is corkable
		ws.Close()
		return
	}
	var told *receipts
	if slip := out.takeSlip(); slip != nil {
		told = &receipts{Slip: slip}
		told.begin, _ = out.progress()
	}
	c := &client{
		hub: s.hub, log: s.cfg.Log, ws: ws, out: out, sessionID: sessionID, since: since, asks: asked,
		v1:         ws.Subprotocol() == wire.SubprotocolV1,
		limiter:    newLimiter(s.cfg.RateLimits, time.Now()),
		wake:       make(chan struct{}, 1),
		closings:   make(chan closing, 1),
		connection: r.Header.Get(kernels.ConnectionHeader),
		receipts:   told,
	}
	c.jupyterServer = !c.v1 && strings.HasPrefix(r.UserAgent(), "Tornado/")
	s.clients.Go(func() {
		if told != nil {
			defer told.Close()
		}
		if err := c.run(s.ctx); err != nil {
			s.cfg.Log.Debug("client ended", "cause", err)
		}
	})
}

// newID returns a random id of 32 hex digits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the caller has gone
}
