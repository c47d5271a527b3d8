package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// busyHub is one whose kernel has taken two cells, a comm and a request for completion of two sessions.
func busyHub() *hub {
	h := newHub(slog.New(slog.DiscardHandler), newJournal(journalBytes, journalCount))
	h.phase, h.generation, h.kernelSession = running, 1, "k"
	h.activity.lastParent = []byte(`{"msg_id":"1"}`)
	for i, kind := range []string{"execute_request", "execute_request", "comm_msg", "complete_request", "shutdown_request"} {
		id := fmt.Sprint(i + 1)
		h.pending.add(request{session: "s" + id, header: wire.Header{MsgID: id, MsgType: kind, Session: "s" + id},
			message: wire.Message{Channel: wire.Shell}}, time.Now())
	}
	return h
}

// heard is what session has been sent, as "channel type parent text".
func (h *hub) heard(session string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	items, _ := h.journal.read(nil, reader{0, session, readLimit{items: 100, bytes: 1 << 20}, none, false})
	var all []string
	for _, it := range items {
		m := it.entry.message
		parent, _ := wire.ParseHeader(m.Parent)
		all = append(all, fmt.Sprintf("%s %s %s %s", m.Channel, it.entry.header.MsgType, parent.MsgID, m.Content))
	}
	return all
}

// deathOf is what session s4 is told of a death.
func deathOf(why, ename string) []string {
	idle := `{"execution_state":"idle"}`
	return []string{
		`iopub stream 1 {"name":"stderr","text":"` + why + `\n"}`,
		"iopub status 1 " + idle, "iopub status 2 " + idle, "iopub status 3 " + idle,
		`shell complete_reply 4 {"ename":"` + ename + `","evalue":"` + why + `","status":"error","traceback":[]}`,
		"iopub status 4 " + idle, "iopub status 5 " + idle,
	}
}

const restarting = `iopub status  {"execution_state":"restarting"}`

func TestDeathEndsWhatWasAsked(t *testing.T) {
	gone := errors.New("EOF")
	for _, tt := range []struct {
		name string
		do   func(*hub)
		want []string
	}{
		{"told after the end", func(h *hub) { h.kernelDown(gone); h.died("Why.") }, append(deathOf("Why.", "KernelDied"), restarting)},
		{"told before it", func(h *hub) { h.died("Why."); h.kernelDown(gone) }, append(deathOf("Why.", "KernelDied"), restarting)},
		{"never told", func(h *hub) { h.kernelDown(gone); time.Sleep(reasonWait); synctest.Wait() },
			append(slices.Clone(deathOf(outOfReach, "KernelDied")), restarting)},
		{"told twice", func(h *hub) {
			h.kernelDown(gone)
			h.died("Why.")
			time.Sleep(reasonWait)
			synctest.Wait()
			h.died("Again.")
		},
			append(deathOf("Why.", "KernelDied"), restarting, `iopub stream 1 {"name":"stderr","text":"Again.\n"}`)},
		{"the end meanwhile", func(h *hub) {
			h.kernelDown(gone)
			h.end("Over.")
			time.Sleep(reasonWait)
			synctest.Wait()
			h.died("Why.")
		},
			append(deathOf("Over.", "KernelEnded"), `iopub status  {"execution_state":"dead"}`)},
		{"a restart that was asked for", func(h *hub) { h.hold(true); h.kernelDown(gone); time.Sleep(reasonWait); synctest.Wait() },
			deathOf("The kernel was restarted.", "KernelRestarted")[1:]},
		{"back before anybody said why", func(h *hub) { h.kernelDown(gone); h.kernelUp(nil, "k"); time.Sleep(reasonWait); synctest.Wait() },
			append(deathOf(outOfReach, "KernelDied"), restarting, `iopub status  {"execution_state":"idle"}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := busyHub()
				tt.do(h)
				if got := h.heard("s4"); !slices.Equal(got, tt.want) {
					t.Errorf("heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
				if len(h.pending.byID) > 0 || h.untold != nil {
					t.Errorf("%d are pending still", len(h.pending.byID))
				}
			})
		})
	}
}

func TestWarningHoldsUntilTheKernelIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := busyHub()
		time.Sleep(time.Minute)
		h.warn("Soon.")
		if got := h.heard("s1"); len(got) != 1 || !strings.Contains(got[0], "Soon.") {
			t.Errorf("heard %v", got)
		}
		if st := h.status(); !st.Warned.Equal(time.Now()) || st.State != kernels.Idle {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Second)
		h.activity.last = time.Now()
		if st := h.status(); !st.Warned.IsZero() {
			t.Errorf("warned %v", st.Warned)
		}
	})
}
