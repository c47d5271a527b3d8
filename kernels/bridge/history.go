package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"cellblock.io/cellblock/kernels/wire"
)

// Bounds of what a history keeps.
const (
	maxCells  = 10_000 // requests whose cell is remembered
	maxCellID = 256    // bytes in a cell's id, and in the msg_id of its request
	maxOpen   = 64     // requests for input that wait for an answer
)

// history is what a hub knows of its journal's messages beside what is in them. Guarded by the hub's mu.
type history struct {
	// id is the journal's identity: sequence numbers of different bridges have nothing to do with each other.
	id string
	// cells has the ids of notebook cells by the msg_id of their execute_request; asking lists these, oldest first.
	cells  map[string]string
	asking []string
	// open are the requests for input that were neither answered nor given up, oldest first.
	open []openInput
}

// openInput is a request for input that waits for an answer.
type openInput struct {
	seq           uint64
	msgID, parent string
}

func newHistory() history {
	return history{id: newID(), cells: make(map[string]string)}
}

// asked takes note of a client's request: which cell it runs (JupyterLab's cellId, which ipykernel reads as well), and
// what it answers. An input_reply whose parent is not known, as simple clients send it, answers all that is open: a
// kernel takes it for the last it asked, and throws away what it was not waiting for.
func (h *history) asked(r request) {
	switch r.header.MsgType {
	case "execute_request":
		h.remember(r.header.MsgID, r.message.Metadata)
	case "input_reply":
		parent, err := wire.ParseHeader(r.message.Parent)
		known := err == nil && slices.ContainsFunc(h.open, func(o openInput) bool { return o.msgID == parent.MsgID })
		h.close(func(o openInput) bool { return !known || o.msgID == parent.MsgID })
	}
}

func (h *history) remember(msgID string, metadata []byte) {
	if len(msgID) > maxCellID || !bytes.Contains(metadata, []byte(`"cellId"`)) {
		return
	}
	var m struct {
		CellID string `json:"cellId"`
	}
	if err := json.Unmarshal(metadata, &m); err != nil || m.CellID == "" || len(m.CellID) > maxCellID {
		return // not a notebook's
	}
	if _, again := h.cells[msgID]; !again {
		h.asking = append(h.asking, msgID)
	}
	h.cells[msgID] = m.CellID
	if len(h.asking) > maxCells {
		delete(h.cells, h.asking[0])
		h.asking = h.asking[1:]
	}
}

// inputRequested takes note of a request for input that was just given its number.
func (h *history) inputRequested(o openInput) {
	if len(h.open) == maxOpen {
		h.open = slices.Delete(h.open, 0, 1)
	}
	h.open = append(h.open, o)
}

// finished takes note that the kernel has come to the end of a request: what it asked there is not open any more,
// whether it was answered or interrupted.
func (h *history) finished(parent string) {
	if len(h.open) > 0 {
		h.close(func(o openInput) bool { return o.parent == parent })
	}
}

// processEnded takes note that nobody waits for an answer any more.
func (h *history) processEnded() { h.open = nil }

func (h *history) close(which func(openInput) bool) { h.open = slices.DeleteFunc(h.open, which) }

// isOpen reports whether e is a request for input that waits for an answer.
func (h *history) isOpen(e *entry) bool {
	return slices.ContainsFunc(h.open, func(o openInput) bool { return o.seq == e.seq })
}

// isInputRequest reports whether e is one, open or not.
func (e *entry) isInputRequest() bool {
	return e.message.Channel == wire.Stdin && e.header.MsgType == "input_request"
}

// isState reports whether e says only what a process does at present. The `idle` that ends a request says more: the
// client waits for it, also when the process has ended meanwhile.
func (e *entry) isState() bool {
	if e.header.MsgType != "status" {
		return false
	}
	parent, err := wire.ParseHeader(e.message.Parent)
	return err != nil || parent.MsgID == "" || !isIdle(e.message.Content)
}

// openInputs returns the requests for input that are open, not behind position, and for s: one that begins anew gets
// them, since the kernel waits for an answer to something that the person may not see any more. Called with mu held.
func (h *hub) openInputs(s *session, position uint64) (items []item) {
	for _, o := range h.history.open {
		if o.seq > position {
			break
		}
		behind := h.journal.after(o.seq - 1)
		if e := behind.next(); e != nil && e.seq == o.seq && s.gets(e) {
			items = append(items, item{entry: *e})
		}
	}
	return items
}

// asks is what a client's URL asks beyond Jupyter's protocol.
type asks struct {
	since   uint64
	resume  bool   // since was given
	journal string // that of since; empty: the present one
	number  bool   // messages come with their place
}

// parseAsks reads a query:
//
//   - since=N: begin behind the message of that sequence number; 0 is the beginning of what is kept.
//   - journal=ID: the journal that N is of. When it is not this one, the bridge was started again in between, and since
//     counts from 0: all that there is is new.
//   - seq=1: tell each message's place in the journal (WebSocket only).
func parseAsks(query url.Values) (asks, error) {
	a := asks{resume: query.Has("since"), journal: query.Get("journal")}
	if a.resume {
		var err error
		if a.since, err = strconv.ParseUint(query.Get("since"), 10, 64); err != nil {
			return asks{}, errors.New("since must be a sequence number: 0 or more, in digits")
		}
	}
	switch query.Get("seq") {
	case "", "0":
	case "1":
		a.number = true
	default:
		return asks{}, errors.New("seq must be 0 or 1")
	}
	return a, nil
}

// beginning returns where in the journal a client begins that asks so: one that does not resume begins with what comes
// next. A number that the journal has not reached yet is another journal's as well.
func (h *hub) beginning(a asks) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !a.resume:
		return h.journal.last
	case a.journal != "" && a.journal != h.history.id, a.since > h.journal.last:
		return 0
	}
	return a.since
}

// place says where in a journal a message is. It is what the HTTP answer tells of each message, and on a WebSocket that
// was opened with seq=1 the member "cellblock" of its metadata.
type place struct {
	Journal    string `json:"journal,omitempty"` // on WebSockets; once in the HTTP answer
	Seq        uint64 `json:"seq"`
	Generation int    `json:"generation"`        // counts the kernel's processes, from 1
	CellID     string `json:"cell_id,omitempty"` // of the notebook cell that it belongs to
	Missed     int    `json:"missed,omitempty"`  // messages directly before it that the journal had to give up
	Open       *bool  `json:"open,omitempty"`    // of an input_request: whether it waits for an answer
}

// placeOf returns the place of an item. Called with mu held.
func (h *hub) placeOf(it *item) place {
	p := place{Seq: it.entry.seq, Generation: it.entry.generation, Missed: it.missed}
	if len(h.history.cells) > 0 {
		if parent, err := wire.ParseHeader(it.entry.message.Parent); err == nil {
			p.CellID = h.history.cells[parent.MsgID]
		}
	}
	if it.entry.isInputRequest() {
		open := h.history.isOpen(&it.entry)
		p.Open = &open
	}
	return p
}

// number writes the items' places into their metadata, for clients that want them. Called with mu held.
func (h *hub) number(items []item) {
	for i := range items {
		p := h.placeOf(&items[i])
		p.Journal = h.history.id
		m := &items[i].entry.message
		m.Metadata = withPlace(m.Metadata, p)
	}
}

// withPlace returns a copy of a message's metadata, which is a JSON object, with p as its last member: of two members
// of one name, one of which a kernel may have forged, the last counts.
func withPlace(metadata []byte, p place) []byte {
	told, err := json.Marshal(p)
	if err != nil { // numbers and strings always marshal
		return metadata
	}
	inner := bytes.TrimRight(metadata, " \t\r\n")
	inner = bytes.TrimRight(inner[:len(inner)-1], " \t\r\n")
	comma := ","
	if inner[len(inner)-1] == '{' {
		comma = ""
	}
	return fmt.Appendf(make([]byte, 0, len(inner)+len(told)+16), `%s%s"cellblock":%s}`, inner, comma, told)
}
