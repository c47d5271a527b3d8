package prove_test

import (
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/prove"
)

func TestFrames(t *testing.T) {
	begin, words, end := `{"kind":"begin","probe":"A"}`, `{"kind":"words","probe":"A","data":"e30K"}`, `{"kind":"end","probe":"A","code":3}`
	whole := signed(begin, words, end)
	for name, tt := range map[string]struct {
		output string
		want   string
	}{
		"whole":            {whole, "A ended 3"},
		"noise":            {strings.ReplaceAll(whole, "\n", "\nnoise\ncellblock 1 e30= 00\n"), "A ended 3"},
		"in another order": {signed("") + strings.Join(reversed(strings.SplitAfter(signed(begin, words, end), "\n")[1:]), ""), "A ended 3"},
		"cut off":          {whole[:strings.LastIndex(whole, "cellblock")], "A begun"},
		"one is missing":   {strings.Join(append(strings.SplitAfter(whole, "\n")[:2], strings.SplitAfter(whole, "\n")[3]), ""), "A begun"},
		"noise first":      {"noise\n" + whole, ""},
		"another's key":    {"cellblock key " + strings.Repeat("11", 32) + "\n" + whole, ""},
		"no key":           {"cellblock key \n" + whole, ""},
		"changed":          {strings.Replace(whole, "cellblock 1 ", "cellblock 2 ", 1), ""},
		"nothing":          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := prove.ReadOutput([]byte(tt.output)); got != tt.want {
				t.Errorf("read %q, want %q", got, tt.want)
			}
		})
	}
}

func reversed(lines []string) []string {
	var list []string
	for _, l := range lines {
		list = append([]string{l}, list...)
	}
	return list
}

// Whatever is written, nothing is believed that has no code.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(signed(`{"kind":"begin","probe":"A"}`)), []byte("noise"))
	f.Add([]byte("cellblock key"), []byte("cellblock 1 e30= 00\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		prove.ReadOutput(a)
		output := append([]byte("cellblock key "+strings.Repeat("ab", 32)+"\n"), b...)
		if got := prove.ReadOutput(output); got != "" {
			t.Errorf("believed %q", got)
		}
	})
}
