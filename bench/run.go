package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// bench is one run.
type bench struct {
	options
	logs       string // of the servers
	dir        string // temporary
	begin      time.Time
	loads      []string // the load average when each section began
	direct     struct{ echo, whole *directKernel }
	contenders []*contender
	results    *results
}

// contender is a server with the kernel that most rows use.
type contender struct {
	*server
	echo, whole string             // ids of a kernel of each kind
	pace        map[string]float64 // messages a second, as first seen
	round       int                // of the present measurement, from 0
}

// section is a part of the run that fills some rows.
type section struct {
	name  string
	quick bool // part of a quick run
	run   func(*bench, context.Context) error
}

var sections = []section{
	{"round trips", true, (*bench).trips},
	{"connect", true, (*bench).connect},
	{"output", true, (*bench).output},
	{"many kernels", false, (*bench).many},
	{"loss", true, (*bench).loss},
	{"replay", true, (*bench).replay},
	{"ipykernel", false, (*bench).ipykernel},
	{"idle", false, (*bench).idle},
}

func run(ctx context.Context, o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b := &bench{options: o, begin: time.Now(), results: newResults(), logs: filepath.Join(o.cache, "logs")}
	if err := os.MkdirAll(b.logs, 0o755); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "cellblock-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, s := range sections {
		if b.quick && !s.quick || !only.MatchString(s.name) {
			continue
		}
		b.say("%s", s.name)
		b.loads = append(b.loads, s.name+" "+load())
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return b.report()
}

// start starts the direct kernel and all servers, each with an echo kernel.
func (b *bench) start(ctx context.Context) (err error) {
	if b.direct.echo, err = startEcho(b.options, b.dir, kernelMark); err != nil {
		return err
	}
	if b.direct.whole, err = startEcho(b.options, b.dir, 0); err != nil {
		return err
	}
	b.say("starting %s", cellblock)
	s, err := startCellblock(ctx, b.options, b.logs, "main")
	if err != nil {
		return err
	}
	if err := b.join(ctx, s); err != nil || !b.others {
		return err
	}
	for _, p := range peers {
		b.say("starting %s", p.name)
		s, err := p.start(ctx, b, false)
		if err == nil {
			err = b.join(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join makes a started server a contender.
func (b *bench) join(ctx context.Context, s *server) (err error) {
	c := &contender{server: s, pace: map[string]float64{}}
	b.contenders = append(b.contenders, c)
	if c.echo, err = s.newKernel(ctx, echoKernel); err != nil {
		return err
	}
	c.whole, err = s.newKernel(ctx, wholeKernel)
	return err
}

func (b *bench) stop() {
	for _, c := range b.contenders {
		c.stop()
	}
	b.direct.echo.stop()
	b.direct.whole.stop()
}

// rounds is how often each contender has its turn.
func (b *bench) rounds(quick, full int) int {
	if b.quick {
		return quick
	}
	return full
}

// errEnough is returned by a contender's turn that need not come again in this measurement.
var errEnough = errors.New("enough")

// interleave gives direct ZeroMQ and each contender their turns, in rounds, so that what else happens on the machine meets
// all of them. A contender that fails is out of this measurement, and that is said.
func (b *bench) interleave(ctx context.Context, rounds int, direct func() error, of func(*contender) error) error {
	out := map[*contender]bool{}
	for round := range rounds {
		if err := direct(); err != nil {
			return err
		}
		for _, c := range b.contenders {
			if err := ctx.Err(); err != nil {
				return err
			}
			if out[c] {
				continue
			}
			c.round = round
			err := of(c)
			out[c] = err != nil
			if err != nil && !errors.Is(err, errEnough) {
				b.results.note("%s: %v", c.name, err)
				b.say("%s: %v", c.name, err)
			}
		}
	}
	return nil
}

// say tells how the run gets on.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%5.0f s  load %s  %s\n", time.Since(b.begin).Seconds(), load(), fmt.Sprintf(format, args...))
}
