package bridge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// Bounds of one page of the journal, and of those that are under way: they keep messages in memory that the journal may
// have given up meanwhile.
const (
	pageBytes = 4 << 20 // of messages; the last one of a page may go beyond, by its size
	maxPages  = 4
	largePage = 2 * pageBytes    // of those that are larger, one may be under way
	pageTime  = 60 * time.Second // to write one
)

// page is a part of the journal. Marshalled it is the beginning of the answer.
type page struct {
	Journal string `json:"journal"` // as history.id
	Since   uint64 `json:"since"`   // where it begins, which is 0 when the one asked for was of another journal
	Next    uint64 `json:"next"`    // what to ask for as since to go on
	Last    uint64 `json:"last"`    // the newest sequence number
	More    bool   `json:"more"`    // there is something behind next
	Missed  int    `json:"missed"`  // messages between since and next that the journal had to give up

	items  []item
	places []place
}

// page reads up to limit messages, of all sessions.
func (h *hub) page(a asks, limit int) page {
	since := h.beginning(a)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := page{Journal: h.history.id, Since: since, Last: h.journal.last}
	none := func(*entry) bool { return false }
	p.items, p.Next = h.journal.read(nil, reader{position: since, all: true, limit: readLimit{limit, pageBytes}, skip: none})
	p.More = p.Next < p.Last
	for i := range p.items {
		p.Missed += p.items[i].missed
		p.places = append(p.places, h.placeOf(&p.items[i]))
	}
	return p
}

// showJournal answers GET /api/kernels/{id}/journal?since=N[&journal=ID][&limit=L]: what the kernel said behind sequence
// number N to whichever session, oldest first. since is 0 when it is left out, limit 1 to 1000 (1000); a page has at most
// about 4 MiB unless a single message is larger. The answer is one JSON object: the members of page, then "messages",
// each of which has the members of place, then those of jupyter_server's default WebSocket format, with buffers as
// base64. Its Content-Length is set.
//
// All messages are there: outputs, and replies and requests for input of all sessions. The kernel has one owner, and
// who comes back with a new session wants the end of the cell that the old one has started. What is not there is what a
// bridge tells one connection only: notices about gaps and rates.
//
// 400: a parameter is wrong. 503: too many pages are being read.
func (s *server) showJournal(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	query := r.URL.Query()
	asked, err := parseAsks(query)
	limit, limitErr := pageLimit(query)
	if err == nil {
		err = limitErr
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": err.Error(), "reason": "invalid"})
		return
	}
	asked.resume = true
	p, done := s.takePage(asked, limit)
	if done == nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{
			"message": "This kernel's journal is being read by too many at once. Try again.", "reason": "busy"})
		return
	}
	defer done()
	parts, size := p.parts()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTime)); err != nil {
		return // the caller has gone
	}
	for _, part := range parts {
		if err := part.write(w); err != nil {
			return // as above
		}
	}
}

// takePage reads a page, unless too many are under way already: then done is nil. Else it is to be called when the page
// is not needed any more.
func (s *server) takePage(a asks, limit int) (p page, done func()) {
	select {
	case s.pages <- struct{}{}:
	default:
		return page{}, nil
	}
	p = s.hub.page(a, limit)
	size := 0
	for i := range p.items {
		size += p.items[i].entry.message.Size()
	}
	if size <= largePage {
		return p, func() { <-s.pages }
	}
	select {
	case s.largePages <- struct{}{}:
		return p, func() { <-s.largePages; <-s.pages }
	default:
		<-s.pages
		return page{}, nil
	}
}

// pageLimit reads the query's limit.
func pageLimit(query url.Values) (int, error) {
	if !query.Has("limit") {
		return kernels.MaxPageItems, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > kernels.MaxPageItems {
		return 0, fmt.Errorf("limit must be a number from 1 to %d", kernels.MaxPageItems)
	}
	return limit, nil
}

// part is a piece of an answer. The bytes of messages are not copied into it.
type part struct {
	bytes  []byte
	base64 bool // to be written as that
}

func (p part) size() int {
	if p.base64 {
		return base64.StdEncoding.EncodedLen(len(p.bytes))
	}
	return len(p.bytes)
}

func (p part) write(w io.Writer) error {
	if !p.base64 {
		_, err := w.Write(p.bytes)
		return err
	}
	encoder := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := encoder.Write(p.bytes); err != nil {
		return err
	}
	return encoder.Close()
}

// parts returns the answer and how long it is.
func (p *page) parts() (parts []part, size int) {
	add := func(pieces ...[]byte) {
		for _, b := range pieces {
			parts = append(parts, part{bytes: b})
		}
	}
	add(open(p, `"messages":[`))
	for i := range p.items {
		if i > 0 {
			add([]byte(","))
		}
		e := &p.items[i].entry
		m := &e.message
		head := open(told{p.places[i], string(m.Channel), e.header.MsgID, e.header.MsgType}, "")
		add(head)
		add(wire.Parts(nil, m)...)
		add(buffersName)
		for n, b := range m.Buffers {
			if n > 0 {
				add([]byte(","))
			}
			add(quote)
			parts = append(parts, part{bytes: b, base64: true})
			add(quote)
		}
		add([]byte("]}"))
	}
	add([]byte("]}\n"))
	for _, one := range parts {
		size += one.size()
	}
	return parts, size
}

// told is what stands before a message's own parts.
type told struct {
	place
	Channel string `json:"channel"`
	MsgID   string `json:"msg_id"`
	MsgType string `json:"msg_type"`
}

// What stands around a message's buffers.
var (
	buffersName = []byte(`,"buffers":[`)
	quote       = []byte(`"`)
)

// open returns v, which marshals to an object with members, as one that goes on with next.
func open(v any, next string) []byte {
	told, err := json.Marshal(v)
	if err != nil { // numbers and strings always marshal
		told = []byte("{}")
	}
	return append(append(told[:len(told)-1], ','), next...)
}
