package containers

import (
	"fmt"
	"strings"

	"cellblock.io/cellblock/kernels"
)

// minUID keeps tenants away from ids that images use for their own users; maxUID is far above any subordinate range.
const (
	minUID = 1000
	maxUID = 1 << 30
)

// Bounds of an environment.
const (
	maxEnv      = 256
	maxEnvBytes = 64 << 10
)

// checkLaunch refuses what must not become a name, a label or a user id. All errors are kernels.ErrInvalid.
func checkLaunch(l kernels.Launch) error {
	if err := checkHandle(l.Record.Handle); err != nil {
		return err
	}
	switch {
	case !l.Record.Owner.Valid():
		return fmt.Errorf("%w: owner %q", kernels.ErrInvalid, l.Record.Owner)
	case !kernels.ValidID(l.Record.ID):
		return fmt.Errorf("%w: kernel id %q", kernels.ErrInvalid, l.Record.ID)
	case l.UID < minUID || l.UID >= maxUID:
		return fmt.Errorf("%w: user id %d is not between %d and %d", kernels.ErrInvalid, l.UID, minUID, maxUID)
	case l.Spec.Image == "":
		return fmt.Errorf("%w: kernelspec %q has no image", kernels.ErrInvalid, l.Spec.Name)
	}
	return nil
}

// checkEnv refuses an environment that is too large or that no process can have. Values are not in the error.
func checkEnv(env map[string]string) error {
	if len(env) > maxEnv {
		return fmt.Errorf("%w: %d environment variables, %d at most", kernels.ErrInvalid, len(env), maxEnv)
	}
	size := 0
	for name, value := range env {
		if !kernels.ValidEnvName(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("%w: environment variable %.40q", kernels.ErrInvalid, name)
		}
		size += len(name) + len(value)
	}
	if size > maxEnvBytes {
		return fmt.Errorf("%w: environment of %d bytes, %d at most", kernels.ErrInvalid, size, maxEnvBytes)
	}
	return nil
}
