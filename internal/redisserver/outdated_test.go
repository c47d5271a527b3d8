package redisserver_test

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/redisserver/redistest"
)

func changelog(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "changelog.Debian.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := gzip.NewWriter(f)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOutdated(t *testing.T) {
	const before = "redis (5:7.0.15-1~deb12u5) bookworm-security; urgency=high\n\n  * CVE-2025-27151\n"
	const fixed = "redis (5:7.0.15-1~deb12u6) bookworm-security; urgency=medium\n\n  * CVE-2025-46817 / CVE-2025-49844\n\n" + before
	notGzip := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(notGzip, []byte(fixed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		version   string
		changelog string
		old       bool
	}{
		{"redis_version:8.2.2", "", false}, {"redis_version:8.2.1", "", true}, {"redis_version:8.0.4", "", false},
		{"redis_version:7.4.6", "", false}, {"redis_version:7.4.5", "", true}, {"redis_version:7.2.11", "", false},
		{"redis_version:7.2.10", "", true}, {"redis_version:6.2.20", "", false}, {"redis_version:6.0.16", "", true},
		{"redis_version:7.10.0", "", true}, {"redis_version:8.4.0", "", false}, {"redis_version:10.0.0", "", false},
		{"redis_version:7.0.15", "", true}, {"redis_version:7.0.15", changelog(t, before), true},
		{"redis_version:7.0.15", changelog(t, fixed), false}, {"redis_version:7.0.14", changelog(t, fixed), true},
		{"redis_version:7.0.15", notGzip, true}, {"redis_version:7.0.1", changelog(t, fixed), true},
		{"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.4", "", false},
		{"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3", "", true},
		{"redis_version:7.2.4\r\nvalkey_version:9.0.0", "", false},
		{"redis_version:", "", true}, {"", "", true}, {"redis_version:8.2.2-rc1", "", true}, {"redis_version:8.2", "", true},
	} {
		got := redisserver.OutdatedBy("# Server\r\n"+row.version+"\r\nredis_mode:standalone\r\n", []string{"/nonexistent", row.changelog})
		if row.old != (got != "") || row.old && !strings.Contains(got, "CVE-2025-49844") {
			t.Errorf("%q with %q: %q", row.version, row.changelog, got)
		}
	}
}

func TestOutdatedAsksTheServer(t *testing.T) {
	inst := redistest.Start(t)
	said, err := redisserver.Outdated(t.Context(), inst.Admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("of this machine's: %q", said)
	if strings.Contains(said, "not known") {
		t.Errorf("a real server's version was not understood: %s", said)
	}
	if _, err := redisserver.Outdated(t.Context(), inst.Client); err == nil {
		t.Error("the gateway's user may ask for INFO")
	}
}
