package redisserver

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// flaw is CVE-2025-49844: whoever may run scripts runs any code in the server. Our user must run scripts.
const flaw = "CVE-2025-49844"

// repaired are the first releases without the flaw, of each line of releases that got one. Later lines never had it.
var repaired = map[string][]release{
	"Redis":  {{6, 2, 20}, {7, 2, 11}, {7, 4, 6}, {8, 0, 4}, {8, 2, 2}},
	"Valkey": {{7, 2, 11}, {8, 0, 6}, {8, 1, 4}},
}

// changelogs are where Debian and its children say what they have repaired in a release that is older.
var changelogs = []string{"/usr/share/doc/redis-server/changelog.Debian.gz", "/usr/share/doc/valkey-server/changelog.Debian.gz"}

const maxChangelog = 8 << 20 // bytes that are read of one

type release [3]int

// Outdated says in a sentence when a server has a flaw that matters here, and "" when it has none that is known. It
// asks the server for its version, which its user must be allowed to do (INFO); an error means that it was not.
func Outdated(ctx context.Context, client *redis.Client) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis for its version: %w", err)
	}
	return outdated(info, changelogs), nil
}

func outdated(info string, changelogs []string) string {
	facts := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		facts[name] = value
	}
	product, version := "Redis", facts["redis_version"]
	if v := facts["valkey_version"]; v != "" {
		product, version = "Valkey", v
	}
	is, ok := parseRelease(version)
	switch {
	case !ok:
		return fmt.Sprintf("The version of the Redis server is not known (%.40q): make sure that it has the fix of %s.", version, flaw)
	case is.has(repaired[product]):
		return ""
	}
	for _, path := range changelogs {
		if patched(path, version) {
			return ""
		}
	}
	return fmt.Sprintf("%s %s is older than the fix of %s (scripts could run any code in it), and no package's changelog on this machine "+
		"says that the fix is in it: upgrade the server.", product, version, flaw)
}

func parseRelease(text string) (r release, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != len(r) {
		return r, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return r, false
		}
		r[i] = n
	}
	return r, true
}

// has reports whether a release is one of the repaired, or of a line after all of theirs.
func (r release) has(repaired []release) bool {
	for _, f := range repaired {
		if r[0] == f[0] && r[1] == f[1] {
			return r[2] >= f[2]
		}
	}
	last := repaired[len(repaired)-1]
	return r[0] > last[0] || r[0] == last[0] && r[1] > last[1]
}

// patched reports whether a package's changelog is of that version and has the repair.
func patched(path, version string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return false
	}
	text, err := io.ReadAll(io.LimitReader(unzipped, maxChangelog))
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(text), "\n") // redis (5:7.0.15-1~deb12u6) bookworm-security; urgency=medium
	return strings.Contains(first, ":"+version+"-") && strings.Contains(string(text), flaw)
}
