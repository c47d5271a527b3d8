// Package doctor looks whether a host and an installation's settings are as they must be for kernels to be contained,
// and says what to do where they are not. It changes nothing and asks no network. serve asks it the few questions whose
// answer decides whether kernels may run at all; `cellblock doctor` asks all of them.
//
// The rules are those of the host section of Cellblock's threat model: a finding that fails makes a promise untrue, a
// warning is a wall that is missing behind another.
package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Severity says how a check came out.
type Severity string

// The severities.
const (
	Fail          Severity = "fail" // a promise does not hold
	Warn          Severity = "warn" // it holds, with one wall less than there should be
	OK            Severity = "ok"
	NotApplicable Severity = "not_applicable" // this host has nothing of the kind
	Unknown       Severity = "unknown"        // it could not be told; Found says why
)

// Finding is the outcome of one check. docs/doctor.md documents its JSON.
type Finding struct {
	ID       string   `json:"id"` // never changes its meaning
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Why      string   `json:"why"`
	Remedy   string   `json:"remedy"` // a command or a line of a file; empty where there is nothing to do
}

// Group is the part of the ID before the first dot.
func (f Finding) Group() string {
	group, _, _ := strings.Cut(f.ID, ".")
	return group
}

// check is one rule. Its look returns what is the case; everything else is the same on each host.
type check struct {
	id     string
	why    string
	remedy string // for a failure or a warning whose verdict has none of its own
	look   func(*Host) verdict
}

// verdict is a check's outcome on one host.
type verdict struct {
	severity Severity
	found    string
	remedy   string
}

func ok(format string, args ...any) verdict   { return verdict{OK, fmt.Sprintf(format, args...), ""} }
func fail(format string, args ...any) verdict { return verdict{Fail, fmt.Sprintf(format, args...), ""} }
func warn(format string, args ...any) verdict { return verdict{Warn, fmt.Sprintf(format, args...), ""} }
func notApplicable(format string, args ...any) verdict {
	return verdict{NotApplicable, fmt.Sprintf(format, args...), ""}
}

// with gives a verdict a remedy of its own.
func (v verdict) with(format string, args ...any) verdict {
	v.remedy = fmt.Sprintf(format, args...)
	return v
}

// unknown says why something could not be told, and how it could.
func unknown(what string, err error) verdict {
	if errors.Is(err, fs.ErrPermission) {
		return verdict{Unknown, what + ": this user may not see it.", "cellblock doctor, as root"}
	}
	return verdict{Unknown, fmt.Sprintf("%s: %v", what, err), ""}
}

// checks are all rules, in the order in which people read them.
func checks() []check {
	return slices.Concat(engineChecks, userChecks, fileChecks, capacityChecks, imageChecks, gatewayChecks, redisChecks,
		serviceChecks, kernelChecks, cpuChecks, memoryChecks, sysctlChecks(), moduleChecks())
}

// IDs are those of all checks, in their order.
func IDs() []string {
	var ids []string
	for _, c := range checks() {
		ids = append(ids, c.id)
	}
	return ids
}

// Required are the checks that decide whether kernels may run. Besides the configuration and the engine they
// look at files alone.
var Required = []string{"engine.rootless", "engine.root_id", "engine.limits", "engine.seccomp", "engine.podman_version",
	"engine.runtime_version", "image.bridge", "image.kernels"}

// Examine runs the checks that one of the selectors selects, all of them when there is none. A selector is an ID, or
// the beginning of one up to a dot.
func Examine(h *Host, selectors ...string) []Finding {
	var findings []Finding
	for _, c := range checks() {
		if len(selectors) > 0 && !Selected(c.id, selectors) {
			continue
		}
		v := c.look(h)
		f := Finding{ID: c.id, Severity: v.severity, Found: v.found, Why: c.why, Remedy: v.remedy}
		if f.Remedy == "" && (v.severity == Fail || v.severity == Warn) {
			f.Remedy = c.remedy
		}
		findings = append(findings, f)
	}
	return findings
}

// Selected says whether one of the selectors selects the ID.
func Selected(id string, selectors []string) bool {
	return slices.ContainsFunc(selectors, func(s string) bool { return id == s || strings.HasPrefix(id, s+".") })
}
