package prove

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:embed inside/runner.py inside/probe.py inside/jails.py inside/neighbour.py
var inside embed.FS

// filterErrno is the answer of the filter's proving build: no system call of any kernel returns it.
const filterErrno = 4000

const (
	pollEvery  = 100 * time.Millisecond
	startTime  = 60 * time.Second // until the runner says that it is ready
	perProbe   = 2 * time.Second  // for a process more, beside a probe's own timeout, on a slow machine
	settleTime = 300 * time.Millisecond
)

// batch is what runs in one place: probes one after the other.
type batch struct {
	without []string
	errno   uint
	probes  []Probe
	alone   bool
}

// result is what came of a batch.
type result struct {
	outcomes map[string]*outcome
	finds    map[string][]string // what the observer found of each probe
	loose    []string            // what it found and cannot say of which
	left     []string            // what was left when the place was removed
	err      error               // why it could not be run
}

// files returns what a place is given to run a plan.
func files(plan any) (map[string][]byte, error) {
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{"plan.json": text}
	for _, name := range []string{"runner.py", "probe.py", "jails.py", "neighbour.py"} {
		if all[name], err = inside.ReadFile("inside/" + name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// run runs a batch, in more places than one when a probe ends the runner.
func (r *run) run(ctx context.Context, b batch) result {
	total := result{outcomes: map[string]*outcome{}, finds: map[string][]string{}}
	for rest := b.probes; len(rest) > 0; {
		part := r.runOnce(ctx, batch{b.without, b.errno, rest, b.alone})
		total.loose = append(total.loose, part.loose...)
		total.left = append(total.left, part.left...)
		for id, o := range part.outcomes {
			total.outcomes[id] = o
			total.finds[id] = part.finds[id]
		}
		before := len(rest)
		rest = slices.DeleteFunc(slices.Clone(rest), func(p Probe) bool { return part.outcomes[p.ID] != nil })
		if part.err != nil || len(rest) == before {
			total.err = part.err
			if total.err == nil {
				total.err = errors.New("the runner ended before it ran a probe")
			}
			break
		}
	}
	return total
}

// runOnce runs a batch in one place, as far as it comes.
func (r *run) runOnce(ctx context.Context, b batch) result {
	plan := struct {
		Targets targets     `json:"targets"`
		Probes  []planProbe `json:"probes"`
		Sweep   bool        `json:"sweep"` // kill what a probe leaves: only where nobody else's processes can be seen
	}{Targets: r.plant.targets, Sweep: len(b.without) == 0 && r.private}
	patience := startTime
	for _, p := range b.probes {
		plan.Probes = append(plan.Probes, planProbe{p.ID, p.Code, p.Timeout.Seconds()})
		patience += p.Timeout + perProbe
	}
	list, err := files(plan)
	if err != nil {
		return result{err: err}
	}
	if b.exclusive() { // what is still there is of those before
		r.gather(ctx)
		r.take(b)
	}
	cell, err := r.level.Start(ctx, Job{Without: b.without, Errno: b.errno, Files: list, Exposed: r.plant.open})
	if err != nil {
		return result{err: fmt.Errorf("start a place: %w", err)}
	}
	var got result
	words, err := r.follow(ctx, cell, b, patience)
	if err == nil {
		got = r.observe(ctx, cell, b, words)
	}
	left, closed := cell.Close(context.WithoutCancel(ctx))
	got.left = left
	if got.err = errors.Join(err, closed); got.err != nil {
		got.err = fmt.Errorf("run in a place: %w", got.err)
	}
	return got
}

type planProbe struct {
	ID      string  `json:"id"`
	Code    string  `json:"code"`
	Timeout float64 `json:"timeout"`
}

// follow reads what the runner says until it is done, or has ended, or nothing more can come.
func (r *run) follow(ctx context.Context, cell Cell, b batch, patience time.Duration) (*reader, error) {
	words := new(reader)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	seen := 0
	for {
		alive := cell.Alive() // before the output, which is then whole
		output, err := cell.Output()
		if err != nil {
			return nil, err
		}
		words.read(output)
		for ; seen < words.ended(); seen++ {
			r.progress(b)
		}
		if words.has("done") || !alive && words.has("ready") {
			return words, nil
		}
		if !alive {
			return nil, fmt.Errorf("the runner does not start: %.300q", output)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the runner is not done: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// observe looks for canaries wherever the batch's probes could have left them.
func (r *run) observe(ctx context.Context, cell Cell, b batch, words *reader) result {
	sleep(ctx, settleTime) // datagrams and the neighbour's words are on their way
	r.gather(ctx)
	got := result{outcomes: words.outcomes()}
	got.finds, got.loose = r.take(b)
	if !words.hidden() {
		got.loose = append(got.loose, "the runner could not hide its memory from probes")
	}
	for id, o := range got.outcomes {
		for _, c := range r.plant.canaries {
			if strings.Contains(string(o.output), c.nonce) {
				got.finds[id] = append(got.finds[id], c.name+" was printed")
			}
		}
	}
	finds, err := cell.Search(ctx, r.plant.nonces())
	if err != nil {
		got.loose = append(got.loose, "what was written could not be searched: "+err.Error())
	}
	for _, f := range finds {
		got.loose = append(got.loose, r.plant.canaries[f.Needle].name+" was written to "+f.Where)
	}
	if id := b.probes[0].ID; b.alone { // then it is known who it was
		got.finds[id], got.loose = append(got.finds[id], got.loose...), nil
	}
	return got
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
