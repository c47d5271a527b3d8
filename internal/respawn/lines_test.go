package respawn_test

import (
	"errors"
	"slices"
	"testing"

	"cellblock.io/cellblock/internal/respawn"
)

func TestLines(t *testing.T) {
	var got []string
	l := &respawn.Lines{Max: 5, Each: func(line []byte) error {
		got = append(got, string(line))
		return nil
	}}
	for _, text := range []string{"a\nb", "c\n\n", "", "12345", "678", "9\nrest"} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	if want := []string{"a\n", "bc\n", "\n", "12345", "6789\n"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLinesThatNobodyTakes(t *testing.T) {
	closed := errors.New("closed")
	l := &respawn.Lines{Max: 5, Each: func([]byte) error { return closed }}
	if _, err := l.Write([]byte("a\n")); !errors.Is(err, closed) {
		t.Errorf("error %v", err)
	}
}
