package containers

import (
	"regexp"

	"golang.org/x/mod/semver"
)

// floors are the versions from which the known ways out of containers are closed: in Podman those of an image's annotation
// (CVE-2026-94603) and around the socket rules of seccomp profiles (CVE-2026-123876), in crun CVE-2026-84042, -88264 and
// -88265, in runc CVE-2026-41579. A distribution may have mended an older version without saying so in its number.
var floors = map[string]string{"podman": "v6.2.0", "crun": "v1.30", "runc": "v1.3.6"}

// Outdated names what is below the version from which the known ways out of containers are closed, for example "podman
// 4.3.1 (6.2.0 is needed)". A version that cannot be read is not named: there is another finding for that.
func (c Capabilities) Outdated() []string {
	var old []string
	for _, part := range []struct{ name, version string }{{"podman", c.Version}, {c.Runtime, c.RuntimeVersion}} {
		have, floor := "v"+part.version, floors[part.name]
		if floor != "" && semver.IsValid(have) && semver.Compare(have, floor) < 0 {
			old = append(old, part.name+" "+part.version+" ("+floor[1:]+" is needed)")
		}
	}
	return old
}

var versionLine = regexp.MustCompile(`(?m)^(?:crun|runc) version (\d+(?:\.\d+){1,2})`)

// runtimeVersion finds the number in what a runtime says about itself, which Podman hands on whole.
func runtimeVersion(text string) string {
	if m := versionLine.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
