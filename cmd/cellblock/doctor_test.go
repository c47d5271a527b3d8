package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/doctor"
	"cellblock.io/cellblock/internal/redisserver/redistest"
)

// severity returns that of one finding.
func (d diagnosis) severity(t *testing.T, id string) doctor.Severity {
	t.Helper()
	i := slices.IndexFunc(d.Findings, func(f finding) bool { return f.ID == id })
	if i < 0 {
		t.Fatalf("there is no finding %s", id)
	}
	return d.Findings[i].Severity
}

func TestDoctor(t *testing.T) {
	server := redistest.Start(t)
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, ableHost)+"\"}")
	d.env["CELLBLOCK_REDIS_URL"] = server.URL
	if r := d.run("doctor", "--json", "--only", "redis.version"); !strings.Contains(r.out, "may not ask Redis about itself") {
		t.Errorf("the gateway's user: %s", r.out)
	}
	d.env["CELLBLOCK_REDIS_URL"] = server.AdminURL
	r := d.run("doctor", "--json")
	if r.code != exitFailure || r.err != "" {
		t.Errorf("without images: status %d, %q", r.code, r.err)
	}
	all := decode[diagnosis](t, r.out)
	if all.Schema != 1 || all.Passed || all.Version == "" || len(all.Findings) != len(doctor.IDs()) {
		t.Errorf("%+v", all)
	}
	want := map[string]doctor.Severity{
		"engine.answers": doctor.OK, "engine.rootless": doctor.OK, "engine.limits": doctor.OK, "engine.limits_io": doctor.Warn,
		"engine.seccomp": doctor.OK, "image.bridge": doctor.Fail, "image.kernels": doctor.Fail,
		"redis.version": all.severity(t, "redis.version"), "redis.eviction": doctor.OK, "gateway.encryption": doctor.OK,
		"files.run_dir": doctor.NotApplicable, "service.oom_score": doctor.NotApplicable,
	}
	for id, severity := range want {
		if got := all.severity(t, id); got != severity {
			t.Errorf("%s: %s, want %s", id, got, severity)
		}
	}
	if v := want["redis.version"]; v == doctor.Unknown {
		t.Error("a real Redis' version is unknown")
	}
	total := 0
	for n := range maps.Values(all.Counts) {
		total += n
	}
	if total != len(all.Findings) {
		t.Errorf("%v are counted of %d", all.Counts, len(all.Findings))
	}
}

func TestDoctorFailsByName(t *testing.T) {
	for host, id := range map[string]string{rootfulOne: "engine.rootless", unableHost: "engine.limits", openHost: "engine.seccomp"} {
		d := newDesk(t, "podman: {socket: \""+enginePlace(t, host)+"\"}")
		r := d.run("doctor", "--json", "--only", "engine")
		if got := decode[diagnosis](t, r.out); got.severity(t, id) != doctor.Fail || r.code != exitFailure {
			t.Errorf("%s: %s, status %d", id, got.severity(t, id), r.code)
		}
	}
}

func TestDoctorText(t *testing.T) {
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, ableHost)+"\"}")
	r := d.run("doctor", "--only", "image.bridge,engine")
	for _, words := range []string{
		"Podman\n", "  warn  engine.limits_io\n        The use of disks cannot be limited.", "\n\nImages\n  FAIL  image.bridge\n", "\n        > deploy/up builds it\n",
		"\n\n1 failed, ", " fine, 0 not applicable, 0 unknown (--verbose shows all)\n",
	} {
		if !strings.Contains(r.out, words) {
			t.Errorf("%q is missing in\n%s", words, r.out)
		}
	}
	if strings.Contains(r.out, "engine.rootless") || strings.Contains(r.out, "\x1b") {
		t.Errorf("what is fine, or colours, in\n%s", r.out)
	}
	if r = d.run("doctor", "--only", "engine", "--verbose"); !regexp.MustCompile(`(?m)^  ok    engine\.rootless +Podman runs without root\.$`).MatchString(r.out) {
		t.Errorf("what is fine is missing in\n%s", r.out)
	}
	if r = d.run("doctor", "--quiet", "--only", "image.bridge"); r.out != "" || r.err != "" || r.code != exitFailure {
		t.Errorf("quiet: %+v", r)
	}
}

// The exit status is for scripts: failures count, warnings only when that is asked for, what is ignored never.
func TestDoctorStatus(t *testing.T) {
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, ableHost)+"\"}")
	for line, want := range map[string]int{
		"--only engine.limits":                                    0,
		"--only image.bridge":                                     exitFailure,
		"--only image.bridge --ignore image":                      0,
		"--only engine.limits_io":                                 0,
		"--only engine.limits_io --strict":                        exitFailure,
		"--only engine.limits_io --strict --ignore engine":        0,
		"--only redis.version":                                    0, // there is no Redis to ask
		"--only redis.version --strict":                           exitFailure,
		"--only engine.limits --only redis.transport --strict":    0,
		"--only engine.limit":                                     exitUsage,
		"--ignore everything":                                     exitUsage,
		"--json --quiet":                                          exitUsage,
		"--config /nonexistent":                                   exitUnable,
		"--log-level loud":                                        exitUnable,
		"--only files.config --only gateway.certificate --strict": 0,
	} {
		if r := d.run(append([]string{"doctor"}, strings.Fields(line)...)...); r.code != want {
			t.Errorf("doctor %s: status %d, want %d\n%s%s", line, r.code, want, r.out, r.err)
		}
	}
}

// Who may start a Podman asks one of their own when the gateway's does not run; root says what to do instead.
func TestDoctorWithoutPodman(t *testing.T) {
	d := newDesk(t, "podman: {command: no-such-podman}")
	r := d.run("doctor", "--json", "--only", "engine")
	got := decode[diagnosis](t, r.out)
	if got.severity(t, "engine.answers") != doctor.Fail || got.severity(t, "engine.limits") != doctor.Unknown {
		t.Errorf("%+v", got)
	}
	words := "podman not found"
	if os.Geteuid() == 0 {
		words = "no Podman service answers"
	}
	if !strings.Contains(r.out, words) {
		t.Errorf("%q is missing in %s", words, r.out)
	}
}

func TestWrap(t *testing.T) {
	if got := wrap("one two three four", 9); !slices.Equal(got, []string{"one two", "three", "four"}) {
		t.Errorf("%q", got)
	}
}
