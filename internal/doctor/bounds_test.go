package doctor_test

import (
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/doctor"
)

// What is longer than it can be is not read to its end, whoever wrote it.
func TestBounds(t *testing.T) {
	f := good(t)
	f.write("proc/sys/kernel/kptr_restrict", strings.Repeat("2", 65<<10))
	f.write("proc/config.gz", strings.Repeat("\x00", 17<<20))
	f.remove("proc/modules")
	for id, words := range map[string]string{
		"sysctl.kernel.kptr_restrict": "longer than 65536 bytes",
		"module.tipc":                 "/proc/config.gz is longer than 16777216 bytes",
	} {
		if got := f.examine(id); got.Severity != doctor.Unknown || !strings.Contains(got.Found, words) {
			t.Errorf("%s: %s: %s", id, got.Severity, got.Found)
		}
	}
}
