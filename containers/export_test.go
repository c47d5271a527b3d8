package containers

import (
	"io"
	"time"

	"github.com/containers/podman/v4/pkg/specgen"

	"cellblock.io/cellblock/kernels"
)

// For the tests, which are outside of this package.
var (
	ParseSpec  = parseSpec
	CheckEnv   = checkEnv
	RecordOf   = record
	PrepareDir = prepareRunDir
	RootID     = rootID
)

// The labels of images.
const (
	LabelSpecName   = labelSpecName
	LabelKernelspec = labelKernelspec
	LabelResource   = labelResource
)

type (
	Builder   = builder
	KernelDir = kernelDir
)

// NewBuilder returns what makes specs on a host of these capabilities.
func NewBuilder(cfg Config, caps Capabilities) Builder {
	cfg.Limits = cfg.Limits.orDefaults()
	return builder{cfg: cfg, caps: caps}
}

var (
	KernelSpec     = builder.kernel
	BridgeSpec     = builder.bridge
	BridgeLabels   = Config.labels
	WorkspaceName  = Config.workspaceName
	ClaimDir       = kernelDir.claim
	FillDir        = kernelDir.fill
	RoleBridge     = roleBridge
	RoleWorkspaces = roleWorkspace
)

// ProvingProfile is for proofs.
var ProvingProfile = provingProfile

// Weakened returns the spec of a trial.
func Weakened(cfg Config, caps Capabilities, t Trial) (*specgen.SpecGenerator, error) {
	return NewBuilder(cfg, caps).trial(t)
}

// Expire lets what Specs has read grow old.
func Expire(e *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.specsAt = time.Time{}
}

// ReadExits tells of the ends in streams that come one after the other.
func ReadExits(fn func(kernels.Exit), streams ...io.Reader) (err error) {
	x := newExitReader(time.Time{}, fn)
	for _, stream := range streams {
		err = x.read(stream)
	}
	return err
}

// ConnectSpec gives a kernel's spec a network.
func ConnectSpec(b Builder, s *specgen.SpecGenerator, l kernels.Launch, n Network, command ...string) {
	b.connect(s, l, connected{network: n, command: command})
}
