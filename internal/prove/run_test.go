package prove_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/prove"
)

// honest gets the secret where the control is taken away, and nothing else.
const honest = `
peek("read", lambda: bytes.fromhex(read(HERE + "/hidden").decode()))
`

func TestContained(t *testing.T) {
	p := newProver(t)
	p.add("honest", honest)
	p.add("untried", honest, func(p *prove.Probe) { p.Control = []string{"nothing"} })
	p.add("impossible", honest, func(p *prove.Probe) { p.Control, p.Needs = []string{"impossible"}, "impossible" })
	report, results := p.run()
	expect(t, results, map[string]prove.Verdict{
		"honest": prove.Contained, "untried": prove.Inconclusive, "impossible": prove.NotEnforceable,
	})
	if r := results["honest"]; !r.Flipped || !strings.Contains(r.ControlEvidence, "temporary directory was printed") {
		t.Errorf("control evidence %q", r.ControlEvidence)
	}
	for _, c := range report.Controls {
		if untested := c.Name == "nothing" || c.Name == "seccomp"; c.Untested() != untested {
			t.Errorf("control %s: untested %v, flips %v", c.Name, c.Untested(), c.Flips)
		}
	}
	if report.Passed() || !strings.Contains(report.Summary(), "not tested: nothing, seccomp") {
		t.Errorf("passed %v: %s", report.Passed(), report.Summary())
	}
}

// Whatever way a secret takes out, it is found, and the probe need not say so.
func TestEscapes(t *testing.T) {
	p := newProver(t)
	quietly := `refused("nothing")`
	p.add("prints", `out(read(T["files"][0]))`+"\n"+quietly)
	p.add("connects", `talk(socket.AF_INET, tuple(T["tcp"][0]))`+"\n"+quietly)
	p.add("sends", `talk(socket.AF_UNIX, "\0" + T["abstract"][0])`+"\n"+quietly)
	p.add("marks", `write(T["write"][0] + "/mark-" + PROBE)`+"\n"+quietly)
	p.add("says-so", `got("something")`)
	p.add("alone-writes", `write(HOME + "/loot", read(T["files"][0]))`+"\n"+quietly, func(p *prove.Probe) { p.Alone = true })
	p.add("alone-changes", `write(T["files"][0], b"x", os.O_WRONLY | os.O_TRUNC)`+"\n"+quietly, func(p *prove.Probe) { p.Alone = true })
	_, results := p.run()
	for _, probe := range p.probes {
		expect(t, results, map[string]prove.Verdict{probe.Name: prove.Escaped})
	}
	for name, evidence := range map[string]string{
		"prints": "was printed", "connects": "127.0.0.1 was reached", "sends": "without a file was reached",
		"marks": "a file was made", "alone-writes": "was written to loot", "alone-changes": "was changed",
	} {
		if !strings.Contains(results[name].Evidence, evidence) {
			t.Errorf("%s: evidence %q, want %q in it", name, results[name].Evidence, evidence)
		}
	}
}

// A secret that somebody has written somewhere makes all suspects that ran together.
func TestEscapeOfSomebody(t *testing.T) {
	p := newProver(t)
	p.add("writes", `write(HOME + "/loot", read(T["files"][0])); refused("nothing")`)
	p.add("honest", honest)
	_, results := p.run()
	expect(t, results, map[string]prove.Verdict{"writes": prove.Escaped, "honest": prove.Escaped})
	if !strings.Contains(results["honest"].Evidence, "somebody among") {
		t.Errorf("evidence %q", results["honest"].Evidence)
	}
}

// A probe that proves nothing is never contained.
func TestInconclusive(t *testing.T) {
	p := newProver(t)
	p.add("broken", "this is no Python")
	p.add("idle", "pass")
	p.add("breaks-off", honest+"raise SystemExit(3)")
	p.add("hangs", honest+"time.sleep(60)", func(p *prove.Probe) { p.Timeout = time.Second })
	p.add("floods", honest+"while True: os.write(1, b'x' * 1000)")
	p.add("babbles", honest+"while True: say('refused', 'x' * 100)")
	p.add("garbles", honest+"os.write(words, b'{}\\nnonsense\\n')")
	p.add("no-trick", honest, func(p *prove.Probe) { p.Escapes = true })
	p.add("only-by-its-words", `refused("x") if not os.path.exists(HERE + "/hidden") else got("x")`)
	_, results := p.run()
	for _, probe := range p.probes {
		expect(t, results, map[string]prove.Verdict{probe.Name: prove.Inconclusive})
	}
	if r := results["only-by-its-words"]; r.Flipped || !strings.Contains(r.ControlEvidence, "only by its own words") {
		t.Errorf("control evidence %q", r.ControlEvidence)
	}
}

// What a probe may say about itself: the same as above is enough where the evidence is its report.
func TestByReport(t *testing.T) {
	p := newProver(t)
	p.add("reports", `refused("x") if not os.path.exists(HERE + "/hidden") else got("x")`, func(p *prove.Probe) { p.Evidence = prove.ByReport })
	p.add("escapes-python", honest+`trick("a jail")`, func(p *prove.Probe) { p.Escapes = true })
	p.add("reaches-the-kernel", `call("getpid")`, func(p *prove.Probe) {
		p.Evidence, p.Control = prove.ByFilter, []string{"seccomp"}
	})
	_, results := p.run()
	expect(t, results, map[string]prove.Verdict{
		"reports": prove.Contained, "escapes-python": prove.Contained, "reaches-the-kernel": prove.Escaped,
	})
	if r := results["escapes-python"]; !r.EscapedPython || !strings.Contains(r.Evidence, "outside there was nothing to get") {
		t.Errorf("evidence %q", r.Evidence)
	}
}

// Secrets that a probe makes up are no secrets, and lines that look like the runner's are not believed.
func TestForgery(t *testing.T) {
	forge := `
import base64, hashlib, hmac
key = bytes(32)
def frame(n, **what):
    line = "cellblock %d %s" % (n, base64.b64encode(json.dumps(what).encode()).decode())
    return line + " " + hmac.new(key, line.encode(), hashlib.sha256).hexdigest()
words_of = base64.b64encode(json.dumps({"kind": "refused", "what": "x"}).encode()).decode()
lines = ["cellblock key " + key.hex()]
for n in range(1, 60):
    lines.append(frame(n, kind="begin", probe="TT-01"))
    lines.append(frame(n, kind="words", probe="TT-01", data=words_of))
    lines.append(frame(n, kind="end", probe="TT-01", why="", code=0))
    lines.append(frame(n, kind="done"))
text = "\n" + "\n".join(lines) + "\n"
for path in ["/proc/%d/fd/1" % os.getppid()]:
    try:
        write(path, text, os.O_WRONLY | os.O_APPEND)
    except OSError as err:
        pass
os.write(1, text[:4000].encode())
`
	p := newProver(t)
	p.add("forges", honest+forge)
	p.add("escapes", `out(read(T["files"][0]))`)
	p.add("makes-up", honest+`out(os.urandom(16).hex()); out(T["knock"]); out(T["mark"])`)
	_, results := p.run()
	expect(t, results, map[string]prove.Verdict{"forges": prove.Contained, "escapes": prove.Escaped, "makes-up": prove.Contained})
}

// When a probe ends the runner, it proves nothing, and those that come after it run all the same.
func TestRunnerKilled(t *testing.T) {
	p := newProver(t)
	p.add("before", honest)
	p.add("kills", honest+"os.kill(os.getppid(), 9); time.sleep(30)")
	p.add("after", honest)
	_, results := p.run()
	expect(t, results, map[string]prove.Verdict{
		"before": prove.Contained, "kills": prove.Inconclusive, "after": prove.Contained,
	})
	if want := "the runner ended while it ran"; results["kills"].Evidence != want {
		t.Errorf("evidence %q, want %q", results["kills"].Evidence, want)
	}
}

func TestLeftBehind(t *testing.T) {
	p := newProver(t)
	p.level.left = []string{"process 1 of user 2"}
	p.add("honest", honest)
	report, _ := p.run()
	if report.Passed() || !slices.Contains(report.Left, "process 1 of user 2") {
		t.Errorf("passed %v, left %v", report.Passed(), report.Left)
	}
}

func TestUnknownControl(t *testing.T) {
	p := newProver(t)
	p.add("honest", honest, func(p *prove.Probe) { p.Control = []string{"walls"} })
	_, err := prove.Run(t.Context(), prove.Config{Level: p.level, Probes: p.probes})
	if err == nil || !strings.Contains(err.Error(), `no control "walls"`) {
		t.Errorf("error %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	p := newProver(t)
	p.add("hangs", honest+"time.sleep(60)", func(p *prove.Probe) { p.Timeout = 30 * time.Second })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := prove.Run(ctx, prove.Config{Level: p.level, Probes: p.probes}); err == nil {
		t.Error("no error")
	}
}
