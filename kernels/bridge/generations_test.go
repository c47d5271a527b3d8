package bridge_test

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// byChannel are messages in a word each, those of iopub and the others: only within a channel there is an order.
func byChannel(shorts []string) (iopub, others []string) {
	for _, s := range shorts {
		if strings.HasPrefix(s, "iopub.") {
			iopub = append(iopub, s)
		} else {
			others = append(others, s)
		}
	}
	return iopub, others
}

// restartedRig is a rig whose kernel was restarted by request while session "a" was away. The old process leaves a cell
// "two" unfinished; "three" was sent while the restart was under way and waited for the new process, which says "starting"
// and a line before it answers.
func restartedRig(t *testing.T) *rig {
	r := newRig(t)
	asked := make(chan struct{})
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		switch {
		case strings.Contains(string(m.Content), "two"):
			k.Publish("status", m.Header, map[string]string{"execution_state": "busy"})
			k.Publish("stream", m.Header, map[string]string{"text": "two"})
		case h.MsgType == "shutdown_request":
			k.Reply(m.Channel, "shutdown_reply", m.Header, map[string]string{"status": "ok"})
			close(asked)
		default:
			return false
		}
		return true
	}
	r.kernel.Start()
	r.ready(0)
	a := r.connect("a")
	a.execute("two")
	a.expect("iopub.stream two")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.api.Shutdown(ctx, true); err != nil {
		t.Fatal(err)
	}
	<-asked
	a.execute("three")
	a.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	r.kernel.Publish("status", []byte(`{"msg_id":"other"}`), map[string]string{"execution_state": "busy"})
	r.print("last words")
	r.until("said", func() bool { s := r.page("").shorts(); return s[len(s)-1] == "iopub.stream last words" })
	r.kernel.Kill()
	r.until("process gone", func() bool {
		conn, err := net.Dial("unix", strings.TrimSuffix(r.kernel.ConnectionFile(), "connection.json")+"k-1")
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	answer := make(chan struct{})
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		<-answer
		return false
	}
	r.kernel.Start()
	r.kernel.Publish("status", nil, map[string]string{"execution_state": "starting"})
	r.print("first words")
	r.until("heard", func() bool { s := r.page("").shorts(); return s[len(s)-1] == "iopub.stream first words" })
	close(answer)
	r.ready(1)
	r.until("ran", func() bool {
		iopub, others := byChannel(r.page("").shorts())
		return len(iopub) == 12 && len(others) == 2
	})
	return r
}

// A session that comes back after a restart gets what the old process said, the end of what it had asked there, and what
// the new one said, in that order, but not the state of the old one. So does one that resumes by number.
func TestReplayAcrossARestart(t *testing.T) {
	r := restartedRig(t)
	wantIOPub := []string{
		"iopub.stream last words",
		"iopub.status idle", // the end of "two"
		"iopub.status starting", "iopub.stream first words",
		"iopub.status idle", // the new process answers
		"iopub.status busy", "iopub.stream three", "iopub.status idle",
	}
	wantOthers := []string{"shell.execute_reply error", "shell.execute_reply ok"}
	r.print("live")
	for name, c := range map[string]*conn{"same session": r.connect("a"), "by number": r.connect("new&since=3")} {
		iopub, others := byChannel(c.expect("iopub.stream live"))
		if !reflect.DeepEqual(iopub, wantIOPub) || !reflect.DeepEqual(others, wantOthers) {
			t.Errorf("%s: %q %q", name, iopub, others)
		}
	}
}

// The pages have all of it, each message with its process.
func TestPagesTellGenerations(t *testing.T) {
	r := restartedRig(t)
	var got []string
	for _, m := range r.page("").Messages {
		if m.Channel == "iopub" {
			got = append(got, fmt.Sprint(m.Generation, " ", m.short()))
		}
	}
	want := []string{
		"1 iopub.status idle", "1 iopub.status busy", "1 iopub.stream two", "1 iopub.status busy", "1 iopub.stream last words",
		"1 iopub.status idle", "2 iopub.status starting", "2 iopub.stream first words", "2 iopub.status idle",
		"2 iopub.status busy", "2 iopub.stream three", "2 iopub.status idle",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
