package config_test

import (
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/config"
)

var validations = []struct {
	name   string
	change func(*config.Config)
	want   string // part of the error; empty when valid
}{
	{"defaults", func(*config.Config) {}, ""},
	{"port only", func(c *config.Config) { c.Listen = ":8888" }, ""},
	{"no port", func(c *config.Config) { c.Listen = "localhost" }, "listen:"},
	{"port too large", func(c *config.Config) { c.Listen = "localhost:70000" }, "listen:"},
	{"base", func(c *config.Config) { c.BaseURL = "/cells/" }, ""},
	{"base without slash", func(c *config.Config) { c.BaseURL = "cells" }, "base_url:"},
	{"public", func(c *config.Config) { c.PublicURL = "https://x.example.org/cells/" }, ""},
	{"public without scheme", func(c *config.Config) { c.PublicURL = "x.example.org" }, "public_url:"},
	{"origin", func(c *config.Config) { c.AllowOrigins = []string{"https://x.example.org"} }, ""},
	{"origin with path", func(c *config.Config) { c.AllowOrigins = []string{"https://x.example.org/a"} }, "allow_origins:"},
	{"any origin", func(c *config.Config) { c.AllowOrigins = []string{"*"} }, "allow_origins:"},
	{"proxies", func(c *config.Config) { c.TrustedProxies = []string{"10.0.0.0/8", "::1"} }, ""},
	{"proxy by name", func(c *config.Config) { c.TrustedProxies = []string{"proxy"} }, "trusted_proxies:"},
	{"half tls", func(c *config.Config) { c.TLS.Cert = "/a.pem" }, "tls:"},
	{"level", func(c *config.Config) { c.Log.Level = "loud" }, "log.level:"},
	{"format", func(c *config.Config) { c.Log.Format = "xml" }, "log.format:"},
	{"instance", func(c *config.Config) { c.Instance = "My Cells" }, "instance:"},
	{"relative state", func(c *config.Config) { c.StateDir = "state" }, "state_dir:"},
	{"relative run", func(c *config.Config) { c.RunDir = "run" }, "run_dir:"},
	{"long run", func(c *config.Config) { c.RunDir = "/" + strings.Repeat("x", 80) }, "run_dir:"},
	{"redis", func(c *config.Config) { c.Redis.URL = "redis://h:6379/1" }, ""},
	{"redis by http", func(c *config.Config) { c.Redis.URL = "http://h" }, "redis.url:"},
	{"no redis program", func(c *config.Config) { c.Redis.Command = "" }, "redis.command:"},
	{"socket", func(c *config.Config) { c.Podman.Socket = "unix:///run/p.sock" }, ""},
	{"socket by tcp", func(c *config.Config) { c.Podman.Socket = "tcp://h:1" }, "podman.socket:"},
	{"no podman program", func(c *config.Config) { c.Podman.Command = "" }, "podman.command:"},
	{"no bridge", func(c *config.Config) { c.BridgeImage = "" }, "bridge_image:"},
	{"no images", func(c *config.Config) { c.Kernels.Images = nil }, "kernels.images:"},
	{"no default", func(c *config.Config) { c.Kernels.Default = "" }, "kernels.default:"},
	{"start", func(c *config.Config) { c.Kernels.StartTimeout = 0 }, "kernels.start_timeout:"},
	{"env prefix", func(c *config.Config) { c.Kernels.EnvAllow = []string{"LC_*"} }, ""},
	{"outdated", func(c *config.Config) { c.Podman.Outdated = "no" }, "podman.outdated:"},
	{"seccomp", func(c *config.Config) { c.Podman.Seccomp = "profile.json" }, "podman.seccomp:"},
	{"base in capitals", func(c *config.Config) { c.BaseURL = "/Cells" }, "base_url:"},
	{"base up", func(c *config.Config) { c.BaseURL = "/../a" }, "base_url:"},
	{"env", func(c *config.Config) { c.Kernels.EnvAllow = []string{"A=B"} }, "kernels.env_allow:"},
	{"memory", func(c *config.Config) { c.Limits.Memory = 1 }, "limits.memory:"},
	{"cpus", func(c *config.Config) { c.Limits.CPUs = 0 }, "limits.cpus:"},
	{"pids", func(c *config.Config) { c.Limits.PIDs = 1 }, "limits.pids:"},
	{"unenforceable", func(c *config.Config) { c.Limits.Unenforceable = "maybe" }, "limits.unenforceable:"},
	{"rate limits", func(c *config.Config) { c.Output.MessageRate, c.Output.DataRate = 1000, 1_000_000 }, ""},
	{"message rate", func(c *config.Config) { c.Output.MessageRate = -1 }, "output.iopub_msg_rate_limit:"},
	{"data rate", func(c *config.Config) { c.Output.DataRate = -1 }, "output.iopub_data_rate_limit:"},
	{"rate window", func(c *config.Config) { c.Output.RateWindow = 0 }, "output.rate_limit_window:"},
	{"large journal", func(c *config.Config) { c.Output.JournalBytes = 65 << 20 }, "output.journal_bytes:"},
	{"short journal", func(c *config.Config) { c.Output.JournalMessages = 0 }, "output.journal_messages:"},
	{"quota", func(c *config.Config) { c.Quota.MaxKernels = -1 }, "quota.max_kernels:"},
	{"network", func(c *config.Config) { c.Quota.Network = "internet" }, ""},
	{"network without name", func(c *config.Config) { c.Quota.Network = "" }, "quota.network:"},
	{"unknown network", func(c *config.Config) { c.Quota.Network = "pypi" }, "quota.network:"},
	{"network name", func(c *config.Config) { c.Networks = map[string]config.Network{"Py PI": {}} }, "networks:"},
	{"network called internet", func(c *config.Config) { c.Networks = map[string]config.Network{"internet": {}} }, "networks:"},
	{"network flows", func(c *config.Config) { c.Networks = map[string]config.Network{"pypi": {Flows: 1 << 20}} }, "networks.pypi.flows:"},
	{"refuse", func(c *config.Config) { c.Egress.Refuse = []string{"x"} }, "egress.refuse:"},
	{"never cull", func(c *config.Config) { c.Cull.IdleTimeout = 0 }, ""},
	{"cull", func(c *config.Config) { c.Cull.IdleTimeout = -1 }, "cull.idle_timeout:"},
	{"no cull warning", func(c *config.Config) { c.Cull.Warning = 0 }, ""},
	{"cull warning", func(c *config.Config) { c.Cull.Warning = -1 }, "cull.warning:"},
	{"cull interval", func(c *config.Config) { c.Cull.Interval = 0 }, "cull.interval:"},
	{"session", func(c *config.Config) { c.Auth.SessionTTL = 0 }, "auth.session_ttl:"},
	{"session without end", func(c *config.Config) { c.Auth.SessionMax = time.Hour }, "auth.session_max:"},
	{"jwt none", func(c *config.Config) { c.Auth.JWT.Algorithm = "none" }, "auth.jwt.algorithm:"},
	{"jwt key alone", func(c *config.Config) { c.Auth.JWT.KeyFile = "/k" }, "auth.jwt.algorithm:"},
	{"jwt without issuer", func(c *config.Config) {
		c.Auth.JWT = config.JWT{Algorithm: "ES256", KeyFile: "/k", Audience: "a"}
	}, "auth.jwt.issuer:"},
	{"jwt", func(c *config.Config) {
		c.Auth.JWT = config.JWT{Algorithm: "ES256", KeyFile: "/k", Issuer: "i", Audience: "a"}
	}, ""},
	{"jwt claim alone", func(c *config.Config) { c.Auth.JWT.AdminClaim = "groups" }, "auth.jwt.admin_claim:"},
	{"jwt leeway", func(c *config.Config) { c.Auth.JWT.Leeway = -1 }, "auth.jwt.leeway:"},
}

func TestValidate(t *testing.T) {
	for _, tt := range validations {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestValidateJoins(t *testing.T) {
	c := config.Default()
	c.Listen, c.Quota.MaxKernels = "x", -1
	err := c.Validate()
	if err == nil || !strings.Contains(err.Error(), "listen:") || !strings.Contains(err.Error(), "quota.max_kernels:") {
		t.Errorf("not both: %v", err)
	}
}
