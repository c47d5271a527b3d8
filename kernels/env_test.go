package kernels_test

import (
	"errors"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels"
)

func TestEnvAllow(t *testing.T) {
	allow := kernels.EnvAllow{"LANG", "LC_*", "LD_PRELOAD", "PYTHON*"}
	for name, want := range map[string]bool{
		"LANG": true, "LC_ALL": true, "LC_": true, "LANGUAGE": false, "TZ": false, "LD_PRELOAD": false, "PYTHONPATH": false,
		"": false, "1A": false, "LC_ A": false, "LC_\x00": false, "LC_" + strings.Repeat("A", 200): false,
	} {
		if got := allow.Lets(name); got != want {
			t.Errorf("%.20q: %v", name, got)
		}
	}
	for name, ok := range map[string]bool{"LANG": true, "LC_*": true, "KERNEL_*": true, "LD_*": false, "PATH": false, "A B": false, "*": false, "A*B": false} {
		if err := (kernels.EnvAllow{name}).Validate(); (err == nil) != ok {
			t.Errorf("%q as a rule: %v", name, err)
		}
	}
	secret := "hunter2"
	for _, env := range []map[string]string{
		{"TZ": secret}, {"LANG": secret + "\n"}, {"LANG": "$" + secret}, {"LANG": secret + strings.Repeat("x", kernels.MaxEnvValue)},
	} {
		if err := allow.Check(env); !errors.Is(err, kernels.ErrInvalid) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
	if err := allow.Check(map[string]string{"LANG": "C", "LC_ALL": ""}); err != nil {
		t.Error(err)
	}
}
