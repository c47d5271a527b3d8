package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels/wire"
)

func asking(msgID, metadata string) request {
	return request{header: wire.Header{MsgID: msgID, MsgType: "execute_request"}, message: wire.Message{Metadata: []byte(metadata)}}
}

// What clients say of cells is remembered within bounds, and anything else in their metadata is not.
func TestCellsAreBounded(t *testing.T) {
	h := newHistory()
	for i := range 3 * maxCells {
		h.asked(asking(fmt.Sprint("m", i), fmt.Sprintf(`{"cellId":"c%d"}`, i)))
		h.asked(asking("again", `{"cellId":"c"}`))
	}
	if len(h.cells) != maxCells || len(h.asking) != maxCells || h.cells[fmt.Sprint("m", 3*maxCells-1)] == "" || h.cells["m0"] != "" {
		t.Errorf("%d cells, %d in order", len(h.cells), len(h.asking))
	}
	h = newHistory()
	for _, metadata := range []string{"", "{}", `{"cellId":7}`, `{"cellId":""}`, `{"cellId":`, `{"a":"\"cellId\""}`, `{"cellId":"` + strings.Repeat("x", maxCellID+1) + `"}`} {
		h.asked(asking("m", metadata))
	}
	h.asked(asking(strings.Repeat("m", maxCellID+1), `{"cellId":"c"}`))
	if len(h.cells) != 0 {
		t.Errorf("cells %v", h.cells)
	}
}

// A kernel that asks without end has its last questions open.
func TestOpenInputsAreBounded(t *testing.T) {
	h := newHistory()
	for i := range 3 * maxOpen {
		h.inputRequested(openInput{seq: uint64(i), parent: "p"})
	}
	if len(h.open) != maxOpen || !h.isOpen(&entry{seq: 3*maxOpen - 1}) || h.isOpen(&entry{seq: 2*maxOpen - 1}) {
		t.Errorf("%d open", len(h.open))
	}
	if h.finished("other"); len(h.open) != maxOpen {
		t.Error("another request's end closes them")
	}
	if h.finished("p"); len(h.open) != 0 {
		t.Errorf("%d are open when their request has ended", len(h.open))
	}
}

// FuzzWithPlace: whatever object a kernel's metadata is, it stays what it was but for one member, which is ours.
func FuzzWithPlace(f *testing.F) {
	for _, seed := range []string{"{}", " { } ", `{"a":1}`, "{\"a\":\"}\"\r\n}\t", `{"cellblock":{"seq":9}}`, `{"cellblock":1,"cellbloc\u006b":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, metadata string) {
		var before map[string]json.RawMessage
		if json.Unmarshal([]byte(metadata), &before) != nil || before == nil {
			return // check has refused it
		}
		told := withPlace([]byte(metadata), place{Journal: "j", Seq: 7, Generation: 2, CellID: `"`, Missed: 1})
		var after map[string]json.RawMessage
		if err := json.Unmarshal(told, &after); err != nil {
			t.Fatalf("%v in %q", err, told)
		}
		if got := string(after["cellblock"]); got != `{"journal":"j","seq":7,"generation":2,"cell_id":"\"","missed":1}` {
			t.Errorf("place %s", got)
		}
		delete(before, "cellblock")
		delete(after, "cellblock")
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%q became %q", metadata, told)
		}
	})
}
