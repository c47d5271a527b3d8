package kernels

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anyPython is the kernelspec name that clients use for "the default Python kernel".
const anyPython = "python"

// maxShown bounds what a sentence repeats of a name that a client sent, in bytes.
const maxShown = 64

// Specs returns the installed kernelspecs by name, the caller's to read, and the name of the default one. The default
// may be missing among them.
func (m *Manager) Specs(ctx context.Context) (specs map[string]Spec, defaultName string, err error) {
	specs, err = m.cfg.Specs.Specs(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("list kernelspecs: %w", err)
	}
	return specs, m.cfg.DefaultSpec, nil
}

// spec finds the kernelspec that a client means by name.
func (m *Manager) spec(ctx context.Context, name string) (Spec, error) {
	specs, defaultName, err := m.Specs(ctx)
	if err != nil {
		return Spec{}, err
	}
	if s, ok := specs[name]; ok {
		return s, nil
	}
	if name == "" || name == anyPython {
		name = defaultName
	}
	if s, ok := specs[name]; ok {
		return s, nil
	}
	if len(specs) == 0 {
		return Spec{}, refuse(ErrUnknownSpec, "No kernel is installed here. Ask your administrator.")
	}
	names := slices.Sorted(maps.Keys(specs))
	return Spec{}, refuse(ErrUnknownSpec, "No kernel named %s is installed. There is: %s.",
		shown(name), strings.Join(names, ", "))
}

// shown quotes what a client sent, for a sentence.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return fmt.Sprintf("%q", s)
}
