package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// silence is longer than a living client leaves a ping unanswered.
const silence = 300 * time.Millisecond

func TestDeathIsToldAndTheNextCellRuns(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	c.run("x")
	r.kernel.Kill()
	if err := r.api.Tell(context.Background(), kernels.Died, "Signal 9."); err != nil {
		t.Fatal(err)
	}
	if before := c.expect("iopub.status restarting"); fmt.Sprint(before) != "[iopub.stream Signal 9.\n]" {
		t.Errorf("before the news came %v", before)
	}
	if s := r.status(); s.State != kernels.Restarting {
		t.Errorf("state %s", s.State)
	}
	c.execute("at once")
	r.kernel.Start()
	c.expect("iopub.status idle")
	c.expect("iopub.stream at once")
	if s := r.status(); s.Generation != 2 {
		t.Errorf("generation %d", s.Generation)
	}
}

// A requested restart keeps clients, tells them nothing false, and holds what they ask meanwhile.
func TestRequestedRestart(t *testing.T) {
	r := newRig(t)
	asked := make(chan string, 1)
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType == "shutdown_request" {
			asked <- string(m.Content)
		}
		return false
	}
	r.kernel.Start()
	r.ready(0)
	c := r.connect("a")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.api.Shutdown(ctx, true); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != `{"restart":true}` {
		t.Errorf("kernel was asked %s", got)
	}
	c.execute("after")
	if s := r.status(); s.State != kernels.Restarting {
		t.Errorf("state %s", s.State)
	}
	r.until("process gone", func() bool {
		conn, err := net.Dial("unix", strings.TrimSuffix(r.kernel.ConnectionFile(), "connection.json")+"k-1")
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	r.kernel.Start()
	if got := r.ready(1); got != 2 {
		t.Errorf("generation %d", got)
	}
	before := c.expect("iopub.stream after")
	if strings.Contains(fmt.Sprint(before), "restarting") || before[0] != "iopub.status idle" {
		t.Errorf("before the cell came %v", before)
	}
}

func TestClientsOwnShutdownIsFinal(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	c.send(wire.Control, "shutdown_request", map[string]bool{"restart": false})
	c.expect("control.shutdown_reply ok")
	r.until("known as meant", func() bool { return r.status().ShutdownRequested })
	if err := r.api.Tell(context.Background(), kernels.Over, ""); err != nil {
		t.Fatal(err)
	}
	code, before := c.closed()
	if code != websocket.CloseNormalClosure || fmt.Sprint(before) != "[iopub.status dead]" {
		t.Errorf("code %d after %v", code, before)
	}
}

func TestEndSaysWhyAndClosesForGood(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	c.run("x")
	if err := r.api.Tell(context.Background(), kernels.Over, "Idle for 1 h."); err != nil {
		t.Fatal(err)
	}
	code, before := c.closed()
	if code != websocket.CloseNormalClosure || !strings.Contains(fmt.Sprint(before), "Idle for 1 h.") ||
		before[len(before)-1] != "iopub.status dead" {
		t.Errorf("code %d after %v", code, before)
	}
	if s := r.status(); s.State != kernels.Dead {
		t.Errorf("state %s", s.State)
	}
	if _, err := r.api.Ready(context.Background(), 1); !errors.Is(err, kernels.ErrNotFound) {
		t.Errorf("ready after the end: %v", err)
	}
}

func TestStoppingBridgeSaysSo(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	r.until("connected", func() bool { return r.status().Connections == 1 })
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	if code, _ := c.closed(); code != websocket.CloseServiceRestart {
		t.Errorf("close code %d", code)
	}
	<-stopped
}

func TestNewerConnectionOfASessionReplacesTheOlder(t *testing.T) {
	r := startedRig(t)
	old := r.connect("a")
	r.until("connected", func() bool { return r.status().Connections == 1 })
	newer := r.connect("a")
	if code, _ := old.closed(); code != websocket.ClosePolicyViolation {
		t.Errorf("close code %d", code)
	}
	newer.execute("x")
	newer.expect("iopub.stream x")
	if s := r.status(); s.Connections != 1 {
		t.Errorf("%d connections", s.Connections)
	}
}

func TestInterrupt(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	if err := r.api.Interrupt(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.kernel.Publish("stream", nil, map[string]string{"text": "x"})
	if before := c.expect("iopub.stream x"); len(before) != 0 {
		t.Errorf("the client saw %v", before)
	}
	r.kernel.Kill()
	c.expect("iopub.status restarting")
	if err := r.api.Interrupt(context.Background()); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("interrupt without a kernel: %v", err)
	}
}

func TestActivity(t *testing.T) {
	r := newRig(t)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType != "execute_request" {
			return false
		}
		k.Publish("status", m.Header, map[string]string{"execution_state": "busy"})
		return true
	}
	r.kernel.Start()
	r.ready(0)
	c := r.connect("a")
	before := r.status()
	c.send(wire.Shell, "kernel_info_request", map[string]string{})
	c.expect("iopub.status idle")
	if s := r.status(); s.State != kernels.Idle || !s.LastActivity.Equal(before.LastActivity) {
		t.Errorf("kernel_info counts as activity: %+v", s)
	}
	c.execute("a")
	c.execute("b")
	c.expect("iopub.status busy")
	c.expect("iopub.status busy")
	c.send(wire.Control, "kernel_info_request", map[string]string{})
	c.expect("iopub.status idle")
	if s := r.status(); s.State != kernels.Busy || !s.LastActivity.After(before.LastActivity) {
		t.Errorf("busy cells, idle control request: %+v", s)
	}
}

// From the moment of its 101 on a new client gets all that the kernel says.
func TestNewSessionMissesNothingAfterItsUpgrade(t *testing.T) {
	r := startedRig(t)
	for i := range 200 {
		c := r.connect(fmt.Sprint("session", i))
		text := fmt.Sprint("said after the upgrade ", i)
		r.kernel.Publish("stream", nil, map[string]string{"text": text})
		c.expect("iopub.stream " + text)
		c.ws.Close()
	}
}
