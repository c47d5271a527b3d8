package gateway

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}\*?$`)
)

// neverEnv are variables that no allow-list lets through: what the gateway itself decides (who, where, with what
// rights), and what makes a program load other code than its own.
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

// envAllowed reports whether the configuration lets the variable through to kernels.
func envAllowed(allow []string, name string) bool {
	if !envName.MatchString(name) || envNever(name) {
		return false
	}
	return slices.ContainsFunc(allow, func(pattern string) bool {
		prefix, family := strings.CutSuffix(pattern, "*")
		return name == pattern || family && strings.HasPrefix(name, prefix)
	})
}

// kernelEnv picks from what a client sent the variables that its kernel gets. Old clients send all they have, secrets
// included: values are neither kept nor repeated in an error. All must be strings; what reaches the kernel is
// bounded and has no characters that a shell or a file of variables takes for its own.
func kernelEnv(sent object, allow []string) (map[string]string, error) {
	env := map[string]string{}
	for name, raw := range sent {
		if string(raw) == "null" {
			continue
		}
		var value string
		if json.Unmarshal(raw, &value) != nil {
			return nil, invalid(`All values in "env" must be strings.`)
		}
		if !envAllowed(allow, name) {
			continue
		}
		if len(value) > maxEnvValue || strings.ContainsAny(value, "$`\n\r\x00") {
			return nil, invalid(fmt.Sprintf("The value of %s in \"env\" is too long or has a character that is not allowed.", name))
		}
		env[name] = value
	}
	if len(env) > maxEnv {
		return nil, invalid(fmt.Sprintf(`"env" has more than %d variables for the kernel.`, maxEnv))
	}
	return env, nil
}
