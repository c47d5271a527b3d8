package kernels

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Bounds of what clients may set in a kernel's environment.
const (
	MaxEnv      = 64   // variables
	MaxEnvValue = 4096 // bytes in one
)

var (
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}\*?$`)
)

// neverEnv are variables that no allow-list lets through: what Cellblock itself decides (who, where, with what rights),
// and what makes a program load other code than its own.
var neverEnv = []string{
	"KERNEL_USERNAME", "KERNEL_ID", "KERNEL_UID", "KERNEL_GID", "KERNEL_IMAGE", "KERNEL_NAMESPACE", "KERNEL_WORKING_DIR",
	"KERNEL_LAUNCH_TIMEOUT", "KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS", "KERNEL_CPUS", "KERNEL_MEMORY", "KERNEL_GPUS",
	"PATH", "HOME", "USER", "SHELL", "IFS", "ENV", "BASH_ENV", "TMPDIR", "XDG_RUNTIME_DIR",
}

// neverEnvPrefix are families of such variables.
var neverEnvPrefix = []string{"LD_", "PYTHON", "DYLD_", "GCONV_", "JUPYTER_", "IPYTHON", "CONTAINER_", "CELLBLOCK_"}

func envNever(name string) bool {
	return slices.Contains(neverEnv, name) ||
		slices.ContainsFunc(neverEnvPrefix, func(p string) bool { return strings.HasPrefix(name, p) })
}

// EnvAllow names the environment variables that clients may set in their kernels; with "*" at its end a name stands for
// all that begin so.
type EnvAllow []string

// Validate reports every name that is none, or that is never let through.
func (a EnvAllow) Validate() error {
	for _, name := range a {
		if !envPattern.MatchString(name) || envNever(strings.TrimSuffix(name, "*")) {
			return fmt.Errorf("environment variable %.140q cannot be allowed", name)
		}
	}
	return nil
}

// ValidEnvName reports whether a variable can have that name.
func ValidEnvName(name string) bool { return envName.MatchString(name) }

// Lets reports whether clients may set the variable of that name.
func (a EnvAllow) Lets(name string) bool {
	if !ValidEnvName(name) || envNever(name) {
		return false
	}
	return slices.ContainsFunc(a, func(pattern string) bool {
		prefix, family := strings.CutSuffix(pattern, "*")
		return name == pattern || family && strings.HasPrefix(name, prefix)
	})
}

// ValidEnvValue reports whether a value is short enough and has no character that a shell or a file of variables takes
// for its own.
func ValidEnvValue(value string) bool {
	return len(value) <= MaxEnvValue && !strings.ContainsAny(value, "$`\n\r\x00")
}

// Check refuses, with ErrInvalid, an environment of which anything would not be let through. Values are not in the error.
func (a EnvAllow) Check(env map[string]string) error {
	if len(env) > MaxEnv {
		return fmt.Errorf("%w: %d environment variables, %d at most", ErrInvalid, len(env), MaxEnv)
	}
	for name, value := range env {
		if !a.Lets(name) || !ValidEnvValue(value) {
			return fmt.Errorf("%w: environment variable %.40q is not allowed", ErrInvalid, name)
		}
	}
	return nil
}
