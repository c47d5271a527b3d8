package gateway_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Ids in use by the doubles.
const (
	aliceKernel  = "aaaaaaaa-0000-4000-8000-000000000001"
	bobKernel    = "bbbbbbbb-0000-4000-8000-000000000001"
	nobodys      = "cccccccc-0000-4000-8000-000000000001"
	aliceSession = "aaaaaaaa-0000-4000-8000-00000000000f"
	bobSession   = "bbbbbbbb-0000-4000-8000-00000000000f"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// domain is a double of kernels.Manager that keeps everything in maps.
type domain struct {
	mu       sync.Mutex
	kernels  map[string]kernels.Kernel // by owner and id
	sessions map[string]kernels.SessionModel
	specs    map[string]kernels.Spec
	started  []kernels.StartRequest
	calls    []string
	fail     map[string]error // by method
	onStart  func()
}

func newDomain() *domain {
	d := &domain{kernels: map[string]kernels.Kernel{}, sessions: map[string]kernels.SessionModel{}, fail: map[string]error{}}
	d.specs = map[string]kernels.Spec{"python3": {
		Name: "python3",
		JSON: json.RawMessage(`{"argv":["python"],"display_name":"Python 3","language":"python","metadata":{"x":"<&>"}}`),
		Resources: map[string][]byte{
			"logo-64x64.png": []byte("\x89PNG"), "logo-svg.svg": []byte("<svg/>"), "kernel.js": []byte("1"), "notes.txt": []byte("n"),
		},
	}}
	d.put("alice", aliceKernel)
	d.put("bob", bobKernel)
	for owner, id := range map[kernels.Owner]string{"alice": aliceSession, "bob": bobSession} {
		d.sessions[string(owner)+" "+id] = kernels.SessionModel{
			Session: kernels.Session{ID: id, Owner: owner, Path: "a.ipynb", Name: "a", Type: "notebook"},
			Kernel:  d.kernels[string(owner)+" "+map[kernels.Owner]string{"alice": aliceKernel, "bob": bobKernel}[owner]],
		}
	}
	return d
}

func (d *domain) put(owner kernels.Owner, id string) kernels.Kernel {
	k := kernels.Kernel{
		Record: kernels.Record{ID: id, Owner: owner, Handle: "handle-" + id, Spec: "python3", Created: epoch},
		State:  kernels.Idle, LastActivity: epoch.Add(time.Second), Connections: 2,
	}
	d.kernels[string(owner)+" "+id] = k
	return k
}

// enter notes a call and returns the error that a test wants of it.
func (d *domain) enter(method string, owner kernels.Owner) error {
	d.calls = append(d.calls, method+" "+string(owner))
	return d.fail[method]
}

func (d *domain) Get(_ context.Context, owner kernels.Owner, id string) (kernels.Kernel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter("Get", owner); err != nil {
		return kernels.Kernel{}, err
	}
	k, ok := d.kernels[string(owner)+" "+id]
	if !ok {
		return k, fmt.Errorf("kernel %s: %w", id, kernels.ErrNotFound)
	}
	return k, nil
}

func (d *domain) List(_ context.Context, owner kernels.Owner) (list []kernels.Kernel, _ error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.kernels {
		if k.Owner == owner {
			list = append(list, k)
		}
	}
	return list, d.enter("List", owner)
}

func (d *domain) Specs(context.Context) (map[string]kernels.Spec, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.specs, "python3", d.enter("Specs", "")
}

func (d *domain) Start(_ context.Context, owner kernels.Owner, req kernels.StartRequest) (kernels.Kernel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter("Start", owner); err != nil {
		return kernels.Kernel{}, err
	}
	if d.onStart != nil {
		d.onStart()
	}
	if req.Spec != "" && req.Spec != "python3" {
		return kernels.Kernel{}, fmt.Errorf("spec %s: %w", req.Spec, kernels.ErrUnknownSpec)
	}
	id := cmp.Or(req.ID, "dddddddd-0000-4000-8000-000000000001")
	if _, ok := d.kernels[string(owner)+" "+id]; ok {
		return kernels.Kernel{}, fmt.Errorf("reserve: %w", kernels.ErrExists)
	}
	d.started = append(d.started, req)
	k := d.put(owner, id)
	k.State, k.LastActivity, k.Connections = kernels.Starting, time.Time{}, 0
	return k, nil
}

func (d *domain) Interrupt(ctx context.Context, owner kernels.Owner, id string) error {
	return d.on(ctx, "Interrupt", owner, id)
}

func (d *domain) Restart(ctx context.Context, owner kernels.Owner, id string) (kernels.Kernel, error) {
	if err := d.on(ctx, "Restart", owner, id); err != nil {
		return kernels.Kernel{}, err
	}
	return d.Get(ctx, owner, id)
}

func (d *domain) Stop(ctx context.Context, owner kernels.Owner, id string) error {
	if err := d.on(ctx, "Stop", owner, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kernels, string(owner)+" "+id)
	return nil
}

// on is a call that needs the kernel.
func (d *domain) on(ctx context.Context, method string, owner kernels.Owner, id string) error {
	d.mu.Lock()
	err := d.enter(method, owner)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = d.Get(ctx, owner, id)
	return err
}

func (d *domain) OpenSession(ctx context.Context, owner kernels.Owner, req kernels.SessionRequest) (kernels.SessionModel, error) {
	d.mu.Lock()
	err := d.enter("OpenSession", owner)
	d.mu.Unlock()
	var s kernels.SessionModel
	if err != nil {
		return s, err
	}
	if req.KernelID != "" {
		s.Kernel, err = d.Get(ctx, owner, req.KernelID)
	} else {
		s.Kernel, err = d.Start(ctx, owner, req.Kernel)
	}
	s.Session = kernels.Session{ID: "eeeeeeee-0000-4000-8000-00000000000f", Owner: owner, Path: req.Path, Name: req.Name, Type: req.Type}
	return s, err
}

func (d *domain) GetSession(_ context.Context, owner kernels.Owner, id string) (kernels.SessionModel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.enter("GetSession", owner); err != nil {
		return kernels.SessionModel{}, err
	}
	s, ok := d.sessions[string(owner)+" "+id]
	if !ok {
		return s, fmt.Errorf("session %s: %w", id, kernels.ErrNotFound)
	}
	return s, nil
}

func (d *domain) ListSessions(_ context.Context, owner kernels.Owner) (list []kernels.SessionModel, _ error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sessions {
		if s.Owner == owner {
			list = append(list, s)
		}
	}
	return list, d.enter("ListSessions", owner)
}

func (d *domain) ChangeSession(ctx context.Context, owner kernels.Owner, id string, p kernels.SessionPatch) (kernels.SessionModel, error) {
	s, err := d.GetSession(ctx, owner, id)
	if err != nil {
		return s, err
	}
	for to, from := range map[*string]*string{&s.Path: p.Path, &s.Name: p.Name, &s.Type: p.Type} {
		if from != nil {
			*to = *from
		}
	}
	if p.KernelID != "" {
		if s.Kernel, err = d.Get(ctx, owner, p.KernelID); err != nil {
			return s, &kernels.RequestError{Kind: kernels.ErrInvalid, Sentence: "There is no kernel with the id " + p.KernelID + "."}
		}
	}
	return s, nil
}

func (d *domain) CloseSession(ctx context.Context, owner kernels.Owner, id string) error {
	if _, err := d.GetSession(ctx, owner, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.enter("CloseSession", owner)
}

// count is how often a method was called.
func (d *domain) count(method string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, call := range d.calls {
		if strings.HasPrefix(call, method+" ") {
			n++
		}
	}
	return n
}

func (d *domain) failing(method string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail[method] = err
}

// people is a double of auth.Service: the token of alice is "alice-token", her session "alice-session" and so on;
// root is an administrator.
type people struct {
	mu      sync.Mutex
	revoked map[string]bool
	down    bool
	asked   []string
}

func (p *people) who(raw, kind string) (auth.Identity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, raw)
	name, ok := strings.CutSuffix(raw, kind)
	if p.down {
		return auth.Identity{}, fmt.Errorf("look up: %w", auth.ErrUnavailable)
	}
	roles := map[string]auth.Role{"alice": auth.RoleUser, "bob": auth.RoleUser, "root": auth.RoleAdmin, "Odd": auth.RoleUser}
	if !ok || p.revoked[raw] || roles[name] == "" {
		return auth.Identity{}, fmt.Errorf("look up: %w", auth.ErrInvalidCredential)
	}
	return auth.Identity{Name: name, Role: roles[name]}, nil
}

func (p *people) Verify(_ context.Context, raw string) (auth.Identity, error) {
	return p.who(raw, "-token")
}

func (p *people) Session(_ context.Context, raw string) (auth.Identity, error) {
	return p.who(raw, "-session")
}

func (p *people) Login(_ context.Context, raw string) (string, auth.Identity, error) {
	id, err := p.who(raw, "-token")
	return id.Name + "-session", id, err
}

func (p *people) Logout(_ context.Context, raw string) error {
	p.revoke(raw)
	return nil
}

func (p *people) revoke(raw string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revoked == nil {
		p.revoked = map[string]bool{}
	}
	p.revoked[raw] = true
}

func (p *people) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}
