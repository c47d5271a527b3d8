package redisserver

import (
	"fmt"
	"strings"
)

// settings is the configuration that redis-server reads. Records, tokens and users must not be evicted: when memory
// runs out, writes fail. The append-only file is synced each second. Who may do what is in it from the first moment on.
func settings(cfg Config) string {
	return fmt.Sprintf(`port 0
unixsocket %s
unixsocketperm 600
dir %s
daemonize no
databases 1
save ""
appendonly yes
appendfsync everysec
maxmemory 512mb
maxmemory-policy noeviction
maxclients 2048
loglevel warning
user %s
`, quote(cfg.Socket), quote(cfg.Dir), strings.Join(users(cfg.Key), "\nuser "))
}

// quote writes a value so that redis-server's line parser gives back the same bytes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '"' && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
