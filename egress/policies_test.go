package egress_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/egress"
)

func TestAPolicyHoldsAsLongAsItIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named, err := egress.NewPolicy("pypi", egress.Settings{Allow: []string{"pypi.org"}})
		if err != nil {
			t.Fatal(err)
		}
		p := egress.NewPolicies(map[string]egress.Policy{"pypi": named})
		if got, err := p.For(t.Context(), "alice"); err == nil {
			t.Errorf("before anything was said: %+v", got)
		}
		p.Set("alice", "pypi")
		time.Sleep(59 * time.Second)
		if got, err := p.For(t.Context(), "alice"); err != nil || len(got.Rules()) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := p.For(t.Context(), "bob"); err == nil {
			t.Error("bob has alice's")
		}
		time.Sleep(2 * time.Second)
		if got, err := p.For(t.Context(), "alice"); err == nil {
			t.Errorf("after a minute of silence: %+v", got)
		}
		for _, removed := range []string{"removed", "none", "internet", ""} {
			p.Set("alice", removed)
			if got, err := p.For(t.Context(), "alice"); err != nil || len(got.Rules()) != 0 {
				t.Errorf("%q: %+v, %v", removed, got, err)
			}
		}
	})
}

func TestFilterHasWhatTheProxyRefuses(t *testing.T) {
	text := egress.Filter([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		[]netip.Addr{netip.MustParseAddr("5.6.7.8"), netip.MustParseAddr("2a00::1")}, netip.MustParseAddr("10.0.2.3"))
	want := []string{"203.0.113.0/24", "5.6.7.8/32", "2a00::1/128", "ip daddr 10.0.2.3 meta"}
	for _, p := range egress.Refused {
		want = append(want, p.String())
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s is not in\n%s", w, text)
		}
	}
	if strings.Contains(text, "FOUR") || strings.Contains(text, "SIX") || strings.Contains(text, "DNS") {
		t.Error(text)
	}
}
