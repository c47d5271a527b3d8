package gateway

import (
	"encoding/json"
	"fmt"

	"cellblock.io/cellblock/kernels"
)

// kernelEnv picks from what a client sent the variables that its kernel gets. Old clients send all they have, secrets
// included: values are neither kept nor repeated in an error. All must be strings; what reaches the kernel is
// bounded and has no characters that a shell or a file of variables takes for its own.
func kernelEnv(sent object, allow kernels.EnvAllow) (map[string]string, error) {
	env := map[string]string{}
	for name, raw := range sent {
		if string(raw) == "null" {
			continue
		}
		var value string
		if json.Unmarshal(raw, &value) != nil {
			return nil, invalid(`All values in "env" must be strings.`)
		}
		if !allow.Lets(name) {
			continue
		}
		if !kernels.ValidEnvValue(value) {
			return nil, invalid(fmt.Sprintf("The value of %s in \"env\" is too long or has a character that is not allowed.", name))
		}
		env[name] = value
	}
	if len(env) > kernels.MaxEnv {
		return nil, invalid(fmt.Sprintf(`"env" has more than %d variables for the kernel.`, kernels.MaxEnv))
	}
	return env, nil
}
