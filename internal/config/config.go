// Package config reads Cellblock's configuration: one YAML file, each of whose keys an environment variable can
// override. It knows no other part of Cellblock.
package config

import "time"

// Config is the whole configuration. deploy/cellblock.example.yaml documents each key; Default has the same values.
type Config struct {
	Listen         string   `yaml:"listen"`
	BaseURL        string   `yaml:"base_url"`
	PublicURL      string   `yaml:"public_url"`
	AllowOrigins   []string `yaml:"allow_origins"`
	TrustedProxies []string `yaml:"trusted_proxies"`
	Instance       string   `yaml:"instance"`
	StateDir       string   `yaml:"state_dir"`
	RunDir         string   `yaml:"run_dir"`
	BridgeImage    string   `yaml:"bridge_image"`

	TLS     TLS     `yaml:"tls"`
	Log     Log     `yaml:"log"`
	Metrics Metrics `yaml:"metrics"`
	Redis   Redis   `yaml:"redis"`
	Podman  Podman  `yaml:"podman"`
	Kernels Kernels `yaml:"kernels"`
	Limits  Limits  `yaml:"limits"`
	Output  Output  `yaml:"output"`
	Quota   Quota   `yaml:"quota"`
	// Networks are the network policies by name, beside None and Internet which are always there.
	Networks map[string]Network `yaml:"networks"`
	Egress   Egress             `yaml:"egress"`
	Cull     Cull               `yaml:"cull"`
	Auth     Auth               `yaml:"auth"`
}

// TLS names PEM files. Both are set or none.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Log says how much is logged and in which form.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Metrics says who may read /metrics.
type Metrics struct {
	Open bool `yaml:"open"`
}

// Redis says which Redis to use.
type Redis struct {
	URL     string `yaml:"url"`
	Command string `yaml:"command"`
}

// Podman says which Podman to use.
type Podman struct {
	Socket  string `yaml:"socket"`
	Command string `yaml:"command"`
	Seccomp string `yaml:"seccomp"`
	// Outdated is "allow" or "refuse": what to do with a Podman or a runtime that lacks fixes of known ways out.
	Outdated string `yaml:"outdated"`
}

// Kernels says which kernels there are and how they start.
type Kernels struct {
	Images       []string      `yaml:"images"`
	Default      string        `yaml:"default"`
	StartTimeout time.Duration `yaml:"start_timeout"`
	EnvAllow     []string      `yaml:"env_allow"`
}

// Limits are what one kernel may use.
type Limits struct {
	Memory Size    `yaml:"memory"`
	CPUs   float64 `yaml:"cpus"`
	PIDs   int     `yaml:"pids"`
	// Unenforceable is "refuse" or "allow": what to do on a machine that cannot enforce the limits.
	Unenforceable string `yaml:"unenforceable"`
}

// Output says how much of what a kernel says is shown on one connection, with the names that Jupyter gives to these
// limits (0 is none), and how much is kept for those who come back.
type Output struct {
	MessageRate     int           `yaml:"iopub_msg_rate_limit"`
	DataRate        Size          `yaml:"iopub_data_rate_limit"`
	RateWindow      time.Duration `yaml:"rate_limit_window"`
	JournalBytes    Size          `yaml:"journal_bytes"`
	JournalMessages int           `yaml:"journal_messages"`
}

// Quota is what a user may use who has no quota of their own.
type Quota struct {
	MaxKernels int    `yaml:"max_kernels"`
	Network    string `yaml:"network"`
}

// Network is a network policy: what kernels reach through the proxy. Zero values of the caps mean the proxy's own.
type Network struct {
	Allow         []string `yaml:"allow"`
	PermitPrivate []string `yaml:"permit_private"`
	BytesPerDay   Size     `yaml:"bytes_per_day"`
	Flows         int      `yaml:"flows"`
}

// Egress says what holds for all network policies.
type Egress struct {
	Refuse []string `yaml:"refuse"`
}

// Cull says when idle kernels are ended; an IdleTimeout of zero means never.
type Cull struct {
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	Interval    time.Duration `yaml:"interval"`
	Warning     time.Duration `yaml:"warning"`
	Connected   bool          `yaml:"connected"`
	Busy        bool          `yaml:"busy"`
}

// Auth says how people prove who they are.
type Auth struct {
	SessionTTL time.Duration `yaml:"session_ttl"`
	SessionMax time.Duration `yaml:"session_max"`
	JWT        JWT           `yaml:"jwt"`
}

// JWT says which signed tokens of another issuer are accepted; an empty Algorithm means none.
type JWT struct {
	Algorithm string        `yaml:"algorithm"`
	KeyFile   string        `yaml:"key_file"`
	Issuer    string        `yaml:"issuer"`
	Audience  string        `yaml:"audience"`
	Leeway    time.Duration `yaml:"leeway"`
	// Who has AdminValue in the claim AdminClaim is an administrator. Both are set or none.
	AdminClaim string `yaml:"admin_claim"`
	AdminValue string `yaml:"admin_value"`
}

// The network policies that need no definition.
const (
	None     = "none"
	Internet = "internet"
)

// The values of Limits.Unenforceable and Podman.Outdated.
const (
	Refuse = "refuse"
	Allow  = "allow"
)

// Default returns the configuration that holds when neither file nor environment say otherwise.
func Default() Config {
	return Config{
		Listen:      "127.0.0.1:8888",
		BaseURL:     "/",
		Instance:    "cellblock",
		StateDir:    "/var/lib/cellblock",
		RunDir:      "/run/cellblock",
		BridgeImage: "localhost/cellblock/bridge:latest",
		Log:         Log{Level: "info", Format: "text"},
		Redis:       Redis{Command: "redis-server"},
		Podman:      Podman{Socket: "auto", Command: "podman", Outdated: Allow},
		Kernels: Kernels{
			Images:       []string{"localhost/cellblock/kernel-python:latest"},
			Default:      "python3",
			StartTimeout: time.Minute,
		},
		Limits: Limits{Memory: 1 << 30, CPUs: 1, PIDs: 256, Unenforceable: Refuse},
		Output: Output{RateWindow: 3 * time.Second, JournalBytes: 64 << 20, JournalMessages: 100_000},
		Quota:  Quota{MaxKernels: 5, Network: None},
		Cull:   Cull{IdleTimeout: 12 * time.Hour, Interval: time.Minute, Warning: time.Minute, Connected: true},
		Auth:   Auth{SessionTTL: 7 * 24 * time.Hour, SessionMax: 30 * 24 * time.Hour, JWT: JWT{Leeway: 30 * time.Second}},
	}
}
