package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// burst is a series of numbered outputs that the echo kernel publishes in one cell.
type burst struct {
	count, bytes int
	rate         int // messages a second; 0 is flat out
	wait         int // milliseconds before it begins
}

// quiet is how long nothing may come before a burst is taken to be over whose end was lost.
const quiet = 3 * time.Second

// outcome is what a client got of a burst.
type outcome struct {
	Received   int     `json:"received"` // doubled ones too
	Lost       int     `json:"lost"`
	Doubled    int     `json:"doubled"`
	Disordered int     `json:"disordered"`
	Seconds    float64 `json:"seconds"`        // from the first to the last message
	Kernel     float64 `json:"kernel_seconds"` // as long as the kernel took to publish them
	Idle       bool    `json:"idle"`           // the closing one arrived
	Reply      bool    `json:"reply"`
	Notices    int     `json:"-"` // outputs that the kernel did not send: they tell of a loss

	first, end time.Time
}

// rate is in messages a second.
func (o outcome) rate() float64 {
	if o.Seconds == 0 {
		return 0
	}
	return float64(o.Received-1) / o.Seconds
}

func (b burst) code() string {
	return fmt.Sprintf("wait %d burst %d %d %d", b.wait, b.count, b.bytes, b.rate)
}

// burst runs one and counts. When the end of it was lost the socket is of no more use and overdue is true.
func (s *socket) burst(b burst) (o outcome, overdue bool, err error) {
	id, err := s.execute(b.code())
	if err != nil {
		return outcome{}, false, err
	}
	return s.collect(id, b)
}

// collect counts what comes of a burst whose cell has been sent.
func (s *socket) collect(id string, b burst) (o outcome, overdue bool, err error) {
	c := counter{seen: make([]bool, b.count), last: -1, bytes: b.bytes}
	for reads := 0; !c.Idle || !c.Reply; reads++ {
		if reads%256 == 0 || c.Received <= 1 { // setting it for each message would cost more than the rest
			patience := quiet
			if c.Received == 0 {
				patience += time.Duration(b.wait)*time.Millisecond + kernelTime(b)
			}
			if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				return c.outcome, false, err
			}
		}
		if err := s.read(); err != nil {
			if timedOut(err) {
				overdue = true
				break
			}
			return c.outcome, false, err
		}
		if n := numberIn(s.frame); n >= 0 {
			err = c.take(n, len(s.frame))
		} else {
			err = c.note(s, id)
		}
		if err != nil {
			return c.outcome, false, err
		}
	}
	c.finish()
	return c.outcome, overdue, nil
}

// kernelTime is how long the kernel may need to prepare a burst, during which nothing comes.
func kernelTime(b burst) time.Duration {
	return time.Duration(b.count) * (20*time.Microsecond + time.Duration(b.bytes)*10*time.Nanosecond)
}

// counter is an outcome in the making.
type counter struct {
	outcome
	seen        []bool
	last, bytes int
}

// take notes message number n of the burst.
func (c *counter) take(n, size int) error {
	if n >= len(c.seen) || size < c.bytes {
		return fmt.Errorf("message %d of a burst of %d, %d bytes", n, len(c.seen), size)
	}
	c.end = time.Now()
	if c.Received++; c.Received == 1 {
		c.first = c.end
	}
	if c.seen[n] {
		c.Doubled++
	}
	if n < c.last {
		c.Disordered++
	}
	c.seen[n] = true
	c.last = n
	return nil
}

// note notes a message that is no part of the burst itself.
func (c *counter) note(s *socket, id string) error {
	m, err := s.message()
	switch {
	case err != nil:
		return err
	case m.kind == "stream":
		c.Notices++
	case m.parent != id:
	case m.kind == "execute_reply":
		c.Reply = true
		var content struct {
			Seconds float64 `json:"burst_seconds"`
		}
		err = json.Unmarshal(m.content, &content)
		c.Kernel = content.Seconds
	case isIdle(m):
		c.Idle = true
	}
	return err
}

func (c *counter) finish() {
	c.Lost = len(c.seen) - (c.Received - c.Doubled)
	c.Seconds = c.end.Sub(c.first).Seconds()
}

// numberIn is the number that the kernel wrote into a message of a burst, -1 in any other message.
func numberIn(frame []byte) int {
	at := bytes.Index(frame, []byte("burst#"))
	if at < 0 || len(frame) < at+14 {
		return -1
	}
	n, err := strconv.Atoi(string(frame[at+6 : at+14]))
	if err != nil {
		return -1
	}
	return n
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
