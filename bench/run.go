package main

import (
	"context"
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
	begin      time.Time
	direct     struct{ echo, whole *directKernel }
	contenders []*contender
	results    *results
}

// contender is a server with the kernel that most rows use.
type contender struct {
	*server
	echo, whole string             // ids of a kernel of each kind
	pace        map[string]float64 // messages a second, as first seen
}

// section is a part of the run that fills some rows.
type section struct {
	name  string
	quick bool // part of a quick run
	run   func(*bench, context.Context) error
}

var sections = []section{
	{"round trips", true, (*bench).trips},
	{"output", true, (*bench).output},
	{"loss", true, (*bench).loss},
}

func run(ctx context.Context, o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b := &bench{options: o, begin: time.Now(), results: newResults(), logs: filepath.Join(o.programs, "logs")}
	if err := os.MkdirAll(b.logs, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cellblock-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer b.stop()
	if err := b.start(ctx, dir); err != nil {
		return err
	}
	for _, s := range sections {
		if b.quick && !s.quick || !only.MatchString(s.name) {
			continue
		}
		b.say("%s", s.name)
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return b.report()
}

// start starts the direct kernel and all servers, each with an echo kernel.
func (b *bench) start(ctx context.Context, dir string) (err error) {
	if b.direct.echo, err = startDirect(b.options, dir, kernelMark); err != nil {
		return err
	}
	if b.direct.whole, err = startDirect(b.options, dir, 0); err != nil {
		return err
	}
	b.say("starting %s", cellblock)
	s, err := startCellblock(ctx, b.options, b.logs)
	if err != nil {
		return err
	}
	return b.join(ctx, s)
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

// interleave gives direct ZeroMQ and each contender their turns, in rounds, so that what else happens on the machine meets
// all of them. A contender that fails is out of this measurement, and that is said.
func (b *bench) interleave(ctx context.Context, rounds int, direct func() error, of func(*contender) error) error {
	failed := map[string]bool{}
	for range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := direct(); err != nil {
			return err
		}
		for _, c := range b.contenders {
			if failed[c.name] {
				continue
			}
			if err := of(c); err != nil {
				failed[c.name] = true
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
