package prove

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what is proved, and where.
type Config struct {
	Level  Level
	Probes []Probe
	// Dirs are the gateway's directories, by what they are called for people; each is given a file with a secret.
	Dirs map[string]string
	// Files are the gateway's own secrets, by what they are called for people: their longest line is what is looked for.
	Files map[string]string
	// Redis is given a key with a secret; nil for none.
	Redis Redis
	// Progress is told of each run of a probe that has ended, and of how many there will be.
	Progress func(done, total int, what string)
	Log      *slog.Logger
}

// run is one run of all probes.
type run struct {
	level     Level
	plant     *plant
	neighbour Cell
	words     *reader // the neighbour's
	heard     int     // how many of them were read
	total     int
	private   bool // see Targets

	mu       sync.Mutex
	tell     func(done, total int, what string)
	done     int
	findings []finding // that no batch has taken yet
	changed  []string  // of the canaries
}

// Run runs all probes, first as the place is and then with their controls taken away, and reports. It takes minutes. When
// ctx ends it removes what it has made and returns ctx's error.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	begin := time.Now()
	missing := map[string]string{}
	for _, c := range cfg.Level.Controls() {
		missing[c.Name] = c.Missing
	}
	if err := checkControls(cfg.Probes, missing); err != nil {
		return nil, err
	}
	p, err := newPlant(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer p.remove()
	r := &run{level: cfg.Level, plant: p, tell: cfg.Progress}
	if r.tell == nil {
		r.tell = func(int, int, string) {}
	}
	if err := r.startNeighbour(ctx); err != nil {
		return nil, err
	}
	target := cfg.Level.Targets()
	p.targets.Bounds, p.targets.Places, p.targets.Errno = target.Bounds, target.Places, filterErrno
	p.targets.Files = append(p.targets.Files, target.Files...)
	r.private = target.Private
	for name, secret := range target.Secrets {
		p.canaries = append(p.canaries, canary{name: name, nonce: secret})
	}
	report := &Report{Level: cfg.Level.Name(), Started: begin.UTC().Truncate(time.Second), NotPlanted: p.missing}
	r.all(ctx, cfg.Probes, missing, report)
	left, err := r.neighbour.Close(context.WithoutCancel(ctx))
	report.Left = append(report.Left, left...)
	if err := errors.Join(ctx.Err(), err); err != nil {
		return nil, err
	}
	report.ablation(cfg.Level.Controls(), cfg.Probes)
	report.Seconds = int(time.Since(begin).Seconds())
	return report, nil
}

// checkControls makes sure that every probe names controls that there are.
func checkControls(probes []Probe, known map[string]string) error {
	var errs []error
	for _, p := range probes {
		for _, c := range append(slices.Clone(p.Control), p.Needs) {
			if _, ok := known[c]; !ok && c != "" {
				errs = append(errs, fmt.Errorf("probe %s: there is no control %q", p.ID, c))
			}
		}
	}
	return errors.Join(errs...)
}

// all runs every batch and judges.
func (r *run) all(ctx context.Context, probes []Probe, missing map[string]string, report *Report) {
	runnable := slices.DeleteFunc(slices.Clone(probes), func(p Probe) bool { return missing[p.Needs] != "" })
	r.total = 2 * len(runnable)
	runs, controls := map[string]result{}, map[string]result{}
	do := func(into map[string]result, list []batch, parallel int) {
		for i, got := range r.many(ctx, list, parallel) {
			report.Left = append(report.Left, got.left...)
			for _, p := range list[i].probes {
				into[p.ID] = got
			}
		}
	}
	// One at a time where it must be known of everything that is found who it was; and where a probe acts on the machine.
	do(runs, strict(runnable), 1)
	together, alone := weakened(runnable)
	do(controls, together, Parallel)
	do(controls, alone, 1)
	for _, p := range probes {
		report.Probes = append(report.Probes, judge(p, runs[p.ID], controls[p.ID], missing))
	}
}

// many runs batches, some at a time, and returns what came of each.
func (r *run) many(ctx context.Context, list []batch, parallel int) []result {
	results := make([]result, len(list))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, b := range list {
		group.Go(func() error {
			if results[i].err = ctx.Err(); results[i].err == nil {
				results[i] = r.run(ctx, b)
			}
			return nil
		})
	}
	_ = group.Wait() // each result has its error
	return results
}

func describe(b batch) string {
	what := "as kernels run"
	if len(b.without) > 0 {
		what = "without " + strings.Join(b.without, ", ")
	}
	if b.alone {
		return b.probes[0].Name + ", " + what
	}
	return what
}

// strict puts probes into batches that run with all controls. Those that are told by the filter's errors run under its
// proving build, all others under the very profile of a kernel.
func strict(probes []Probe) []batch {
	filter, other := batch{errno: filterErrno}, batch{}
	var alone []batch
	for _, p := range probes {
		switch {
		case p.Alone && p.Evidence == ByFilter:
			alone = append(alone, batch{errno: filterErrno, probes: []Probe{p}, alone: true})
		case p.Alone:
			alone = append(alone, batch{probes: []Probe{p}, alone: true})
		case p.Evidence == ByFilter:
			filter.probes = append(filter.probes, p)
		default:
			other.probes = append(other.probes, p)
		}
	}
	return append(split(filter, other), alone...)
}

// most is how many probes share a place: what they say must fit into its log, and several places run at a time.
const most = 40

// weakened puts probes into batches by what is taken away for them.
func weakened(probes []Probe) (together, alone []batch) {
	var list []batch
	for _, p := range probes {
		i := slices.IndexFunc(list, func(b batch) bool { return slices.Equal(b.without, p.Control) })
		switch {
		case p.Alone:
			alone = append(alone, batch{without: p.Control, probes: []Probe{p}, alone: true})
		case i < 0:
			list = append(list, batch{without: p.Control, probes: []Probe{p}})
		default:
			list[i].probes = append(list[i].probes, p)
		}
	}
	return split(list...), alone
}

// split cuts batches that are too large and leaves out empty ones.
func split(list ...batch) []batch {
	var parts []batch
	for _, b := range list {
		for probes := range slices.Chunk(b.probes, most) {
			parts = append(parts, batch{b.without, b.errno, probes, b.alone})
		}
	}
	return parts
}

func (r *run) progress(b batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.tell(r.done, r.total, describe(b))
}
