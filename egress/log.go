package egress

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// How many lines one kernel may write into the log. What is left out is counted in the next line.
const (
	maxLines     = 5 // a second, on average
	maxLineBurst = 50
	maxShown     = 128 // bytes of what a kernel wrote
)

// line is the end of a request in the log.
type line struct {
	method  string
	name    string
	port    uint16
	asked   string // as the kernel wrote it, for what has no name
	address netip.Addr
	verdict string // allowed, refused, failed or cut
	reason  string

	sent, received int64
	took           time.Duration
}

// note writes a line, within limits.
func (k *kernel) note(l line) {
	k.mu.Lock()
	if !k.lines.Allow() {
		k.unlogged++
		k.mu.Unlock()
		return
	}
	unlogged := k.unlogged
	k.unlogged = 0
	k.mu.Unlock()
	attrs := []slog.Attr{
		slog.String("tenant", k.Owner), slog.String("kernel", k.ID), slog.String("method", clip(l.method)),
		slog.String("name", clip(l.name)), slog.Int("port", int(l.port)), slog.String("verdict", l.verdict),
	}
	if l.reason != "" {
		attrs = append(attrs, slog.String("reason", clip(l.reason)))
	}
	if l.name == "" {
		attrs = append(attrs, slog.String("asked", clip(l.asked)))
	}
	if l.address.IsValid() {
		attrs = append(attrs, slog.String("address", l.address.String()), slog.Int64("sent", l.sent),
			slog.Int64("received", l.received), slog.Duration("took", l.took))
	}
	if unlogged > 0 {
		attrs = append(attrs, slog.Int("unlogged", unlogged))
	}
	k.proxy.log.LogAttrs(context.Background(), slog.LevelInfo, "egress", attrs...)
}

func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}

// debugLogger shows what goproxy says only to those who look for it.
type debugLogger struct{ log *slog.Logger }

// Printf implements goproxy.Logger.
func (l debugLogger) Printf(format string, args ...any) {
	l.log.Debug("goproxy", "text", clip(fmt.Sprintf(format, args...)))
}
