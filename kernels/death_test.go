package kernels_test

import (
	"testing"

	"cellblock.io/cellblock/kernels"
)

func TestDeathInWords(t *testing.T) {
	for want, d := range map[string]kernels.Death{
		"its process ended with exit status 0":                                {},
		"its process ended with exit status 3":                                {Code: 3},
		"its process ended with exit status 128":                              {Code: 128},
		"its process ended with exit status 255":                              {Code: 255},
		"signal 11 (segmentation fault)":                                      {Code: 139},
		"signal 6 (aborted)":                                                  {Code: 134},
		"killed by signal 9, which is also what happens when memory runs out": {Code: 137},
		"it used more memory than it may and was killed by the system":        {Code: 137, OutOfMemory: true},
	} {
		if got := d.String(); got != want {
			t.Errorf("%+v: %q, want %q", d, got, want)
		}
	}
}
