//go:build e2e

package e2e_test

import "testing"

// output shows a browser what hostile kernels put out, on the gateway's own page and in its responses. The kernels are
// bob's, who had none that Redis could find again meanwhile.
func (s *siege) output(t *testing.T) {
	t.Log(s.g.script(t, s.bob, "output.cjs"))
}
