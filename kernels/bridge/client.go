package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/wire"
)

// Limits and times of one WebSocket.
const (
	maxClientMessage = 64 << 20
	smallRequest     = 64 << 10 // what each client may have in memory of a message that is not whole yet
	maxBadFrames     = 100
	batchItems       = 256
	batchBytes       = 64 << 10         // a ping follows each, so this is about what a client that lags may get twice
	messageTime      = 90 * time.Second // for a whole message of a client's
	clientWriteTime  = 90 * time.Second
	answerTime       = 5 * time.Second // for the client to answer our close frame, behind all that is on its way
	closeTime        = 2 * time.Second
	tornadoLimit     = 10 << 20 // largest message that jupyter_server's gateway client accepts
)

// closing is how a WebSocket ends (RFC 6455 §7.4 codes).
type closing struct {
	code int
	text string
}

var (
	closeEnded    = closing{websocket.CloseNormalClosure, "kernel ended"}
	closeReplaced = closing{websocket.ClosePolicyViolation, "replaced by a newer connection of this session"}
	closeDrain    = closing{websocket.CloseServiceRestart, "gateway restarting"}
	closeShutdown = closing{websocket.CloseServiceRestart, "bridge restarting"}
	closeFlood    = closing{websocket.ClosePolicyViolation, "too many requests"}
	closeBad      = closing{websocket.ClosePolicyViolation, "too many malformed messages"}
	closeText     = closing{websocket.CloseUnsupportedData, "text frame on " + wire.SubprotocolV1}
)

// client is one WebSocket connection.
type client struct {
	hub        *hub
	log        *slog.Logger
	ws         *websocket.Conn
	out        *batchConn
	sessionID  string
	connection string // as its gateway names it; empty when nobody does
	since      uint64 // where in the journal a session begins that is new or resumes
	asks       asks
	v1         bool
	// jupyterServer marks jupyter_server's gateway client, which ends its own reading at the first binary frame and
	// drops a connection over tornadoLimit.
	jupyterServer bool

	session  *session // set by attach
	position uint64   // in the journal; set by attach, then the writer's, changed under the hub's mu
	again    []item   // goes first, from before position; set by attach, then the writer's
	limiter  *limiter // the writer's; nil when nothing is limited
	// replayUntil is the newest position at the time of the connect: up to there it is a replay. Set by attach.
	replayUntil uint64
	wake        chan struct{}
	closings    chan closing
	pings       pings
	owedPong    atomic.Pointer[string] // payload of the client's last ping, until the writer answers it
	frame       []byte                 // room for one message, the writer's
	piece       [1][]byte              // room for that as a list
	items       []item                 // room for one batch, the writer's
	pace        pace
	bad         int
	rate        bucket
	within      bool // the reader is within a message

	receipts  *receipts // nil when no gateway tells; what follows is guarded by the hub's mu
	heard     time.Time // when it ceased to be read; zero before
	left      int       // the code of our close frame, once it is on its way
	answered  bool      // the client has answered it with the same code, as RFC 6455 has it
	parted    bool      // the client has closed by itself
	confirmed int64     // bytes of the connection that have arrived as a pong proves
	marks     []mark    // messages that were written and are not known to have arrived
	arrived   uint64    // journal position of the last one that is
	asked     int64     // where in the connection's bytes that ends which comes again; zero before it was written
	lostCount bool      // there are no marks
	holds     int       // bytes of large messages that it is being sent
	holding   uint64    // the journal position of the first of them
}

func (c *client) notify() {
	offer(c.wake, struct{}{})
}

// closeWith asks the writer to end the connection; the first reason wins.
func (c *client) closeWith(why closing) {
	offer(c.closings, why)
}

// cut ends the connection at once, in whatever it is. It does not block, for those who hold the hub's mu.
func (c *client) cut() { go c.ws.Close() }

// run serves the connection until it ends.
func (c *client) run(ctx context.Context) error {
	if err := c.hub.attach(c); err != nil {
		c.sayGoodbye(closing{websocket.CloseTryAgainLater, err.Error()})
		c.ws.Close()
		return err
	}
	defer c.hub.detach(c)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	readerDone := make(chan struct{})
	go c.readAll(ctx, readerDone)
	err := c.writeLoop(ctx)
	select { // the client's answer to our close frame ends the reader; or it is gone, and what it asked last is read
	case <-readerDone:
	case <-time.After(answerTime):
	}
	c.ws.Close()
	stop()
	<-readerDone
	c.receipts.wait()
	return err
}

// readAll reads until the connection ends, and tells the writer why. Clients wait below it most of the time: what it
// needs of the stack counts, for a goroutine that waits keeps four times as much.
func (c *client) readAll(ctx context.Context, done chan<- struct{}) {
	c.hadEnough(c.readLoop(ctx))
	close(done)
}

// hadEnough is called when reading has ended.
func (c *client) hadEnough(err error) {
	c.hub.heardLast(c, err)
	var refused closing
	if !errors.As(err, &refused) {
		refused = closeDrain // nothing more comes: the gateway or the client is gone
	}
	c.closeWith(refused)
}

// Error makes a closing an error, so that the reader can return it.
func (c closing) Error() string { return fmt.Sprintf("close %d: %s", c.code, c.text) }

// readLoop takes requests until the connection ends.
func (c *client) readLoop(ctx context.Context) error {
	c.handleControl()
	for {
		c.ws.SetReadDeadline(time.Now().Add(pongWait)) //nolint:errcheck // fails when the connection is closed, as reading does
		kind, r, err := c.ws.NextReader()
		if err == nil {
			err = c.readMessage(ctx, kind, r)
		}
		if err != nil {
			return err
		}
	}
}

// handleControl says what is done about control frames.
func (c *client) handleControl() {
	c.ws.SetReadLimit(maxClientMessage)
	c.ws.SetPongHandler(func(payload string) error {
		if arrived, ok := c.pings.pong(payload, time.Now()); ok {
			c.hub.confirm(c, arrived)
			c.notify()
		}
		if c.within { // a message has a time of its own, which pongs do not prolong
			return nil
		}
		return c.ws.SetReadDeadline(time.Now().Add(pongWait))
	})
	// The writer answers, when it is between two messages: the reader must not wait for it, and a pong not cut off a
	// client that takes those slowly. Only the last ping need be answered (RFC 6455 §5.5.3).
	c.ws.SetPingHandler(func(payload string) error {
		c.owedPong.Store(&payload)
		c.notify()
		return nil
	})
	answer := c.ws.CloseHandler()
	c.ws.SetCloseHandler(func(code int, text string) error {
		c.out.shut()
		return answer(code, text)
	})
}

// readMessage reads and takes one message that has begun. Of large ones, all clients together have one in memory that is
// not whole yet; the others wait, and their clients with them.
func (c *client) readMessage(ctx context.Context, kind int, r io.Reader) error {
	c.within = true
	defer func() { c.within = false }()
	if err := c.ws.SetReadDeadline(time.Now().Add(messageTime)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	frame, err := io.ReadAll(io.LimitReader(r, smallRequest))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(frame) == smallRequest {
		select {
		case c.hub.largeRequests <- struct{}{}:
			defer func() { <-c.hub.largeRequests }()
		case <-ctx.Done():
			return fmt.Errorf("read: %w", ctx.Err())
		}
		if err := c.ws.SetReadDeadline(time.Now().Add(messageTime)); err != nil { // waiting was not its fault
			return fmt.Errorf("set deadline: %w", err)
		}
		if frame, err = io.ReadAll(io.MultiReader(bytes.NewReader(frame), r)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	return c.take(kind, frame)
}

// take decodes one frame and gives it to the hub. A malformed one is counted and dropped.
func (c *client) take(kind int, frame []byte) error {
	if !c.rate.take(time.Now()) {
		return closeFlood
	}
	var m wire.Message
	var err error
	switch {
	case !c.v1:
		m, err = wire.DecodeLegacy(frame)
	case kind == websocket.TextMessage:
		return closeText
	default:
		m, err = wire.DecodeV1(frame)
	}
	var h wire.Header
	if err == nil {
		h, err = wire.MessageHeader(m.Header)
	}
	if err != nil {
		c.log.Debug("malformed message from a client", "cause", err)
		if c.bad++; c.bad > maxBadFrames {
			return closeBad
		}
		return nil
	}
	c.pace.asked.Store(true)
	c.hub.fromClient(request{session: c.sessionID, header: h, message: m})
	return nil
}

// writeLoop is the only writer of messages.
func (c *client) writeLoop(ctx context.Context) error {
	keepalive := time.NewTimer(c.hub.untilPings(time.Now()))
	defer keepalive.Stop()
	for {
		select {
		case why := <-c.closings:
			return c.sayGoodbye(why)
		default:
		}
		if err := c.pong(); err != nil {
			return err
		}
		items, next, finished := c.hub.readFor(c)
		if len(items) > 0 || next != c.position {
			if err := c.writeBatch(items, next); err != nil {
				return err
			}
			c.pace.wait()
			continue
		}
		if finished {
			return c.sayGoodbye(closeEnded)
		}
		c.frame, c.piece[0], c.items = nil, nil, nil
		c.out.rest()
		var confirm <-chan time.Time
		if wait, ok := c.pings.due(c.position, time.Now()); ok {
			confirm = time.After(wait)
		}
		select {
		case <-c.wake:
		case why := <-c.closings:
			return c.sayGoodbye(why)
		case <-confirm:
			if err := c.ping(c.position, false); err != nil {
				return err
			}
		case <-keepalive.C:
			if err := c.ping(c.position, true); err != nil {
				return err
			}
			keepalive.Reset(c.hub.untilPings(time.Now()))
		case <-ctx.Done():
			return c.sayGoodbye(closeShutdown)
		}
	}
}

// ping sends one behind what has been written up to a position; a sign of life also when there is nothing new.
func (c *client) ping(position uint64, alive bool) error {
	_, given := c.out.progress()
	payload, ok := c.pings.next(mark{given, position}, alive, time.Now())
	if !ok {
		return nil
	}
	return c.ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(clientWriteTime))
}

// pong answers the client's last ping, if it has not been.
func (c *client) pong() error {
	payload := c.owedPong.Swap(nil)
	if payload == nil {
		return nil
	}
	return c.ws.WriteControl(websocket.PongMessage, []byte(*payload), time.Now().Add(clientWriteTime))
}

// sayGoodbye closes the WebSocket with a code that says why.
func (c *client) sayGoodbye(why closing) error {
	c.hub.leaving(c, why.code)
	message := websocket.FormatCloseMessage(why.code, why.text)
	if err := c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeTime)); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
