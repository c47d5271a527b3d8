package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	pythonTrips    = 100
	cellTime       = 60 * time.Second
	afterIdle      = time.Second // output of subprocesses comes by way of a pipe and may come late
	printedText    = 20_000_000
	displayedCount = 5_000
)

// pythonCell is a cell whose output must arrive whole.
type pythonCell struct {
	key, code string
	want      int // characters of text, or messages
	count     func(message) int
}

var pythonCells = []pythonCell{
	{"print 20 MB", `for i in range(200_000): print("x" * 99)`, printedText, textLength},
	{"display", fmt.Sprintf("for i in range(%d): display(i)", displayedCount), displayedCount, isDisplay},
	{"threads", `import threading
def speak():
    for i in range(5000): print("x" * 9 + "\n", end="")
all = [threading.Thread(target=speak) for _ in range(4)]
[t.start() for t in all]
[t.join() for t in all]
None`, 200_000, textLength},
	{"subprocess", `import subprocess
subprocess.run(["sh", "-c", "for i in $(seq 20000); do echo xxxxxxxxx; done"]) and None`, 200_000, textLength},
}

func textLength(m message) int {
	if m.kind != "stream" {
		return 0
	}
	var content struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(m.content, &content) // what does not parse is missed, and that shows
	return len(content.Text)
}

func isDisplay(m message) int { return int(number(m.kind == "display_data")) }

// ipykernel measures the same with a real kernel: round trips, and whether all of what it prints arrives.
func (b *bench) ipykernel(ctx context.Context) error {
	kernel, err := startDirect(b.options, b.dir, "python", b.python(), "-m", "ipykernel_launcher", "-f", "{}")
	if err != nil {
		return err
	}
	defer kernel.stop()
	if err := b.jupyterClientTrips(ctx); err != nil {
		return err
	}
	if _, err := kernel.jupyterClient(ctx, "cell", "pass"); err != nil { // it is up then
		return err
	}
	ids := map[*contender]string{}
	return b.interleave(ctx, b.rounds(1, 2), func() error { return b.directPython(ctx, kernel) }, func(c *contender) (err error) {
		if ids[c] == "" {
			if ids[c], err = c.newKernel(ctx, pythonKernel); err != nil {
				return err
			}
		}
		if err := b.pythonTripsOf(ctx, c, ids[c]); err != nil {
			return err
		}
		for _, cell := range pythonCells {
			if err := b.pythonCellOf(ctx, c, ids[c], cell); err != nil {
				return fmt.Errorf("%s: %w", cell.key, err)
			}
		}
		return nil
	})
}

// jupyterClientTrips has jupyter_client ask the echo kernel.
func (b *bench) jupyterClientTrips(ctx context.Context) error {
	for _, kind := range []string{"kernel_info", "execute"} {
		out, err := b.direct.echo.jupyterClient(ctx, kind, strconv.Itoa(tripsPerRound))
		if err != nil {
			return err
		}
		times, err := microseconds(out)
		if err != nil {
			return err
		}
		b.results.addTimes(kind+" jupyter_client", direct, times)
	}
	return nil
}

// directPython is a round without a server: the raw client's round trips, and jupyter_client's way with the cells.
func (b *bench) directPython(ctx context.Context, kernel *directKernel) error {
	for _, kind := range []string{"kernel_info", "execute"} {
		times, err := kernel.trips(ctx, kind, pythonTrips)
		if err != nil {
			return err
		}
		b.results.addTimes("python "+kind, direct, times)
	}
	for _, cell := range pythonCells {
		out, err := kernel.jupyterClient(ctx, "cell", cell.code)
		if err != nil {
			return err
		}
		var seconds float64
		var got, displays int
		if _, err := fmt.Sscan(out, &seconds, &got, &displays); err != nil {
			return fmt.Errorf("client.py printed %q: %w", out, err)
		}
		if cell.want == displayedCount {
			got = displays
		}
		b.results.add("python "+cell.key, direct, seconds)
		b.results.add("python "+cell.key+" lost", direct, float64(cell.want-got))
	}
	return nil
}

// pythonTripsOf makes round trips with an ordinary client and with a quick one.
func (b *bench) pythonTripsOf(ctx context.Context, c *contender, id string) error {
	for _, quick := range []bool{false, true} {
		o := dialOptions{v1: true, quick: quick}
		for _, kind := range []string{"kernel_info", "execute"} {
			times, err := c.trips(ctx, id, kind, o)
			if err != nil {
				return err
			}
			b.results.addTimes("python "+tripKey(kind, o), c.name, times)
		}
	}
	return nil
}

// pythonCellOf runs one cell and counts what arrives of its output.
func (b *bench) pythonCellOf(ctx context.Context, c *contender, id string, cell pythonCell) error {
	s, err := dial(ctx, c.server, id, dialOptions{v1: true})
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.kernelInfo(cellTime); err != nil {
		return err
	}
	start := time.Now()
	request, err := s.execute(cell.code)
	if err != nil {
		return err
	}
	got, idle, reply, taken := 0, false, false, time.Duration(0)
	patience := cellTime
	for !idle || !reply || got < cell.want {
		if idle && reply {
			patience = afterIdle
		}
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		err := s.read()
		if timedOut(err) {
			break
		}
		if err != nil {
			return err
		}
		m, err := s.message()
		if err != nil {
			return err
		}
		got += cell.count(m)
		idle = idle || m.parent == request && isIdle(m)
		reply = reply || m.parent == request && strings.HasSuffix(m.kind, "_reply")
		taken = time.Since(start)
	}
	b.results.add("python "+cell.key, c.name, taken.Seconds())
	b.results.add("python "+cell.key+" lost", c.name, float64(cell.want-got))
	b.results.add("python "+cell.key+" idle", c.name, number(idle))
	b.results.add("python "+cell.key+" reply", c.name, number(reply))
	return nil
}
