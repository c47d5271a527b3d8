package respawn

import "bytes"

// Lines is an io.Writer for what a program writes: Each gets it line by line, with the line's end if it has one. What is
// longer than Max bytes comes in parts. Each must not keep what it gets.
type Lines struct {
	Max  int
	Each func(line []byte) error
	part []byte
}

// Write is called by one goroutine of exec.Cmd. The error is Each's.
func (l *Lines) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		n := bytes.IndexByte(l.part, '\n') + 1
		if n == 0 && len(l.part) < l.Max {
			return len(p), nil
		}
		if n == 0 {
			n = len(l.part)
		}
		if err := l.Each(l.part[:n]); err != nil {
			return 0, err
		}
		l.part = append(l.part[:0], l.part[n:]...)
	}
}
