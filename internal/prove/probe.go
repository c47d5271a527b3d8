// Package prove tries to break out of the place in which tenants' code runs, in every way that is written down in
// probes/, and reports what came of it. What a probe says of itself is not believed: what counts is what an observer on
// this machine finds, and that the same probe gets through where a control is taken away.
package prove

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed probes/*.yaml
var corpus embed.FS

// Evidence is what decides about a probe.
type Evidence string

const (
	// ByCanary: the observer finds what was hidden from the probe, or the probe's own mark where it cannot have left one.
	ByCanary Evidence = "canary"
	// ByFilter: system calls are answered with an error that only the proving build of the filter gives.
	ByFilter Evidence = "filter"
	// ByReport: the probe says what it got: things without a secret in them, such as bytes beyond a limit.
	ByReport Evidence = "report"
)

// Probe is one attempt. It says nothing about how the place is made that it tries to leave.
type Probe struct {
	ID       string `yaml:"id"`
	Name     string `yaml:"name"`
	Category string `yaml:"-"` // that of its file
	// Tries completes the sentence "It tries to …".
	Tries    string   `yaml:"tries"`
	Evidence Evidence `yaml:"evidence"`
	// Control names what is taken away so that the probe gets through: the proof that it can tell. When it is one
	// control, this is also the proof that this control is what holds.
	Control []string `yaml:"control"`
	// Timeout is how long it may take: 10 s when it is left out, 30 s at most.
	Timeout time.Duration `yaml:"timeout"`
	// Alone: it needs a place of its own, since it harms what shares one with it.
	Alone bool `yaml:"alone"`
	// Escapes: its code breaks out of a sandbox that is made of Python, and must succeed in that.
	Escapes bool `yaml:"escapes_python"`
	// Dies: it may end by a signal; what it reported before counts.
	Dies bool `yaml:"may_die"`
	// Needs is the limit without which the probe says nothing: where the machine cannot enforce it, the probe is not run.
	Needs string `yaml:"needs"`
	// Arch is the only architecture for which it makes sense.
	Arch string `yaml:"arch"`
	// Code is Python; inside/probe.py says what it can use.
	Code string `yaml:"code"`
}

const (
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second
)

// Categories in the order of the report.
var Categories = []string{"python", "filesystem", "processes", "syscalls", "network", "resources", "cross-tenant", "engine"}

var (
	idPattern   = regexp.MustCompile(`^[A-Z]{2}-[0-9]{2,3}$`)
	namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// Corpus returns all probes that are built in, in the order of their files.
func Corpus() ([]Probe, error) { return Load(corpus, "probes") }

// Load reads every .yaml file of a directory. The error has everything that is wrong with them.
func Load(fsys fs.FS, dir string) ([]Probe, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []Probe
	var errs []error
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		probes, err := parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path.Base(file), err))
		}
		all = append(all, probes...)
	}
	for i, p := range all {
		same := func(o Probe) bool { return o.ID == p.ID || o.Name == p.Name }
		if j := slices.IndexFunc(all, same); j < i {
			errs = append(errs, fmt.Errorf("probe %s %s has the id or the name of %s %s", p.ID, p.Name, all[j].ID, all[j].Name))
		}
	}
	return all, errors.Join(errs...)
}

// parse reads one file: a category and its probes. Unknown keys are errors.
func parse(text []byte) ([]Probe, error) {
	var file struct {
		Category string  `yaml:"category"`
		Probes   []Probe `yaml:"probes"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	var errs []error
	if !slices.Contains(Categories, file.Category) {
		errs = append(errs, fmt.Errorf("category %q is none of %s", file.Category, strings.Join(Categories, ", ")))
	}
	for i := range file.Probes {
		p := &file.Probes[i]
		p.Category = file.Category
		if p.Timeout == 0 {
			p.Timeout = defaultTimeout
		}
		if err := p.check(); err != nil {
			errs = append(errs, fmt.Errorf("probe %s: %w", p.ID, err))
		}
	}
	return file.Probes, errors.Join(errs...)
}

// check reports everything that is wrong with a probe.
func (p *Probe) check() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(!idPattern.MatchString(p.ID), "id does not match %s", idPattern)
	wrong(!namePattern.MatchString(p.Name), "name %q does not match %s", p.Name, namePattern)
	wrong(strings.TrimSpace(p.Tries) == "" || strings.Contains(p.Tries, "\n"), "tries must be one line")
	wrong(!slices.Contains([]Evidence{ByCanary, ByFilter, ByReport}, p.Evidence), "evidence %q is unknown", p.Evidence)
	wrong(len(p.Control) == 0, "without a control it proves nothing")
	wrong(p.Timeout < 0 || p.Timeout > maxTimeout, "timeout %v is not within %v", p.Timeout, maxTimeout)
	wrong(strings.TrimSpace(p.Code) == "", "there is no code")
	wrong(p.Evidence == ByFilter && !slices.Contains(p.Control, "seccomp"), "evidence filter goes with control seccomp")
	return errors.Join(errs...)
}
