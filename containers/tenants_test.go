package containers_test

import (
	"errors"
	"fmt"
	"testing"

	"cellblock.io/cellblock/kernels"
)

// Whose user ids are whose is told by the workspaces' labels and by what was launched, not by who asks.
func TestOwnersOfUserIDs(t *testing.T) {
	const workspace = `{"Name":%q,"Labels":{"io.cellblock.instance":"test","io.cellblock.role":"workspace","io.cellblock.owner":%q,"io.cellblock.uid":%q}}`
	p := newPodman(t)
	p.on("GET /info", answer(200, `{"host":{"cgroupVersion":"v2","security":{"rootless":true},
		"idMappings":{"uidmap":[{"container_id":0,"host_id":999,"size":1},{"container_id":1,"host_id":100000,"size":65536}]}},
		"version":{"Version":"4.3.1"}}`))
	p.on("GET /volumes/json", answer(200, "["+fmt.Sprintf(workspace, "a", "alice", "20000")+","+
		fmt.Sprintf(workspace, "b", "bob", "20002")+","+
		// Podman may give others than those that were asked for.
		`{"Name":"d","Labels":{"io.cellblock.instance":"other","io.cellblock.role":"workspace","io.cellblock.owner":"alice","io.cellblock.uid":"30000"}},`+
		`{"Name":"e","Labels":{"io.cellblock.instance":"test","io.cellblock.role":"sockets","io.cellblock.owner":"alice","io.cellblock.uid":"30002"}},`+
		fmt.Sprintf(workspace, "c", "carol", "not a number")+"]"))
	e := p.connect(t)
	for i, row := range []struct {
		owner kernels.Owner
		uid   int
		ok    bool
	}{
		{"mallory", 20000, false}, // alice's
		{"mallory", 20001, false}, // of alice's bridges
		{"mallory", 19999, false}, // its bridges would be alice
		{"mallory", 65536, false}, // its bridges would be nobody
		{"mallory", 1 << 20, false},
		{"alice", 20002, false}, // bob's
		{"alice", 20004, false}, // nobody's, but not hers
		{"alice", 20000, true},
		{"mallory", 20004, true},
		{"eve", 20004, false}, // mallory's by now
		{"mallory", 65534, false},
		{"eve", 65534, true}, // the last one
	} {
		l := goldenLaunch()
		l.Record.Handle, l.Record.Owner, l.UID = fmt.Sprintf("%x", i+1), row.owner, row.uid
		err := e.Launch(t.Context(), l)
		if (err == nil) != row.ok || err != nil && !errors.Is(err, kernels.ErrInvalid) {
			t.Errorf("%s as user %d: %v", row.owner, row.uid, err)
		}
	}
	before := p.count("GET /volumes/json")
	l := goldenLaunch()
	l.Record.Handle, l.Record.Owner, l.UID = "ff", "alice", 20000
	if err := e.Launch(t.Context(), l); err != nil {
		t.Error(err)
	}
	if again := p.count("GET /volumes/json"); again != before {
		t.Error("what is known was asked again")
	}
	p.on("GET /volumes/json", answer(500, `{"response":500,"message":"out of order"}`))
	l.Record.Handle, l.Record.Owner, l.UID = "fe", "zoe", 30000
	if err := e.Launch(t.Context(), l); err == nil {
		t.Error("launched although nobody can tell whose the id is")
	}
}
