package containers_test

import (
	"fmt"
	"testing"

	"cellblock.io/cellblock/containers"
)

// What is below a floor is named with the version that is needed.
func TestOutdated(t *testing.T) {
	tests := []struct {
		podman, runtime, said string
		want                  string
	}{
		{"4.3.1", "crun", "crun version 1.8.1\ncommit: f8a096be\nspec: 1.0.0\n", "[podman 4.3.1 (6.2.0 is needed) crun 1.8.1 (1.30 is needed)]"},
		{"6.2.0", "crun", "crun version 1.30\n", "[]"},
		{"6.10.1", "crun", "crun version 1.100.2\n", "[]"},
		{"6.2.0-rc1", "runc", "runc version 1.3.6\n", "[podman 6.2.0-rc1 (6.2.0 is needed)]"},
		{"6.2.0", "runc", "runc version 1.3.5\ncommit: v1.3.5-0-g0\n", "[runc 1.3.5 (1.3.6 is needed)]"},
		{"6.2.0", "runsc", "runsc version release-20250205.0\n", "[]"},
		{"", "crun", "", "[]"},
	}
	for _, tt := range tests {
		caps := containers.Capabilities{Version: tt.podman, Runtime: tt.runtime, RuntimeVersion: containers.RuntimeVersion(tt.said)}
		if got := fmt.Sprint(caps.Outdated()); got != tt.want {
			t.Errorf("podman %s, %q: %s, want %s", tt.podman, tt.said, got, tt.want)
		}
	}
}
