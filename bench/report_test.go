package main

import (
	"os"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	v := values{5, 1, 4, 2, 3}
	for name, c := range map[string]struct{ got, want float64 }{
		"median": {v.median(), 3}, "least": {v.at(0), 1}, "p99": {v.at(0.99), 5}, "max": {v.max(), 5}, "sum": {v.sum(), 15},
		"none": {values(nil).median(), 0}, "none at most": {values(nil).max(), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v instead of %v", name, c.got, c.want)
		}
	}
}

// someResults is a run of Cellblock and two other gateways, with samples of a few rows.
func someResults(lost float64) *bench {
	b := &bench{results: newResults()}
	for _, name := range []string{cellblock, "other", "worse"} {
		b.contenders = append(b.contenders, &contender{server: &server{name: name}})
	}
	whole := outcome{Received: 101, Seconds: 0.001, Idle: true, Reply: true}
	slow := outcome{Received: 101, Seconds: 0.01, Idle: true, Reply: true}
	slower := outcome{Received: 101, Seconds: 0.1, Lost: 3, Reply: true}
	b.results.addOutcome(outputKey(100, true), cellblock, whole)
	b.results.addOutcome(outputKey(100, true), "other", slow)
	b.results.addOutcome(outputKey(100, true), "worse", slower)
	b.results.addOutcome(lossKey(50_000, true), cellblock, outcome{Lost: int(lost), Idle: true, Reply: true})
	b.results.addOutcome("loss 50000", direct, outcome{Idle: true, Reply: true})
	b.results.add(tripKey("execute", dialOptions{}), cellblock, 0.2, 0.3)
	b.results.add(tripKey("execute", dialOptions{}), "other", 44)
	b.results.add(tripKey("execute", dialOptions{}), "worse", 45)
	b.results.add("execute", direct, 0.1, 0.1)
	return b
}

// line is the line of the table that begins so, its cells joined.
func line(t *testing.T, all table, begin string) string {
	t.Helper()
	for _, l := range all {
		if strings.HasPrefix(l[0], begin) {
			return strings.Join(l[1:], " | ")
		}
	}
	t.Fatalf("no line %q", begin)
	return ""
}

func TestTable(t *testing.T) {
	all, missed := someResults(7).table()
	for begin, want := range map[string]string{
		"output of 100 B, v1 (":                  "– | 100 000 | 10 000 | 1 000 (3 lost, 0/1 idle) | ≥ 100 000 | met | 10 × better",
		"output of 100 B, v1, to the best other": "– |  |  |  | ≥ 30 × | NOT MET | 10 × better",
		"lost of 100 000, at 50 000/s, v1":       "0 (0–0), idle 1/1, reply 1/1 | 7 (7–7), idle 1/1, reply 1/1 | – | – | none, idle and reply always | NOT MET | ",
		"execute, JSON, ordinary":                "0.10 / 0.10 | 0.30 / 0.30 | 44.00 / 44.00 | 45.00 / 45.00 | direct + 0.15 / + 0.6 | NOT MET | 147 × better",
	} {
		if got := line(t, all, begin); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", begin, got, want)
		}
	}
	if len(missed) != 3 {
		t.Errorf("missed goals: %q", missed)
	}
	all, _ = someResults(0).table()
	if got := line(t, all, "lost of 100 000, at 50 000/s, v1"); !strings.Contains(got, "| met |") {
		t.Errorf("nothing lost: %s", got)
	}
}

func TestTableLines(t *testing.T) {
	var text strings.Builder
	table{{"a", "bc"}, {"×××", "d"}}.write(&text)
	if want := "| a   | bc |\n|-----|----|\n| ××× | d  |\n"; text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

func TestProcesses(t *testing.T) {
	own := []int{os.Getpid()}
	if bytes, err := privateBytes(own); err != nil || bytes < 1<<20 {
		t.Errorf("memory of this process: %v bytes, %v", bytes, err)
	}
	before, err := cpuSeconds(own)
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after < before+0.05; {
		if after, err = cpuSeconds(own); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cpuSeconds([]int{-1}); err == nil {
		t.Error("a process that does not exist has used processor time")
	}
}

func TestQuote(t *testing.T) {
	b := someResults(0)
	once, err := b.quote("before\n" + shortBegin + "old\n" + shortEnd + "after\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "| output of 100 B (messages/s)"
	if !strings.HasPrefix(once, "before\n"+shortBegin) || !strings.HasSuffix(once, shortEnd+"after\n") || !strings.Contains(once, want) || strings.Contains(once, "old") {
		t.Errorf("got %s", once)
	}
	if twice, err := b.quote(once); err != nil || twice != once {
		t.Errorf("a second time: %v\n%s", err, twice)
	}
	if _, err := b.quote("a README without the marks"); err == nil {
		t.Error("no error without the marks")
	}
}
