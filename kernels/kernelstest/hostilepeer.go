package kernelstest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"cellblock.io/cellblock/kernels/wire"
)

// Greeting is a ZMTP 3.0 greeting with the mechanism NULL (RFC 23), after change, which may be nil.
func Greeting(change func([]byte)) []byte {
	b := make([]byte, 64)
	b[0], b[9], b[10] = 0xff, 0x7f, 3
	copy(b[12:], "NULL")
	if change != nil {
		change(b)
	}
	return b
}

// Property is one property of a READY command.
func Property(name, value string) string {
	return string([]byte{byte(len(name))}) + name + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
}

// Command is a command's frame; its body begins with the length of its name and the name.
func Command(body string) []byte { return Frame(4, []byte(body)) }

// Ready is the READY command of a socket of that type.
func Ready(socketType string) []byte {
	return Command("\x05READY" + Property("Socket-Type", socketType) + Property("Identity", ""))
}

// Frame is one frame with its flags (1 MORE, 4 COMMAND); the flag for a long one is set where it must be.
func Frame(flags byte, body []byte) []byte {
	if len(body) < 256 {
		return append([]byte{flags, byte(len(body))}, body...)
	}
	return append(FrameHead(flags, uint64(len(body))), body...)
}

// FrameHead is the head of a long frame that declares size bytes.
func FrameHead(flags byte, size uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{flags | 2}, size)
}

// Join is a whole message of frames.
func Join(frames [][]byte) []byte {
	var b []byte
	for i, f := range frames {
		flags := byte(1)
		if i == len(frames)-1 {
			flags = 0
		}
		b = append(b, Frame(flags, f)...)
	}
	return b
}

// Peer is one connection to a HostileKernel. Reading is for one goroutine at a time, writing for any number.
type Peer struct {
	net.Conn
	Kernel  *HostileKernel
	Channel wire.Channel

	in *bufio.Reader
	mu sync.Mutex // one write at a time
}

// Write sends b as it is. It blocks while the other side does not read.
func (p *Peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Conn.Write(b)
}

// Send sends frames as one message.
func (p *Peer) Send(frames [][]byte) error {
	_, err := p.Write(Join(frames))
	return err
}

// Greet does the handshake as it should be, and on iopub waits for the subscription.
func (p *Peer) Greet() error {
	socketType := "ROUTER"
	if p.Channel == wire.IOPub {
		socketType = "XPUB"
	}
	if _, err := p.Write(append(Greeting(nil), Ready(socketType)...)); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	return p.Hear()
}

// Hear reads the other side's greeting and READY, and on iopub its subscription.
func (p *Peer) Hear() error {
	if _, err := io.ReadFull(p.in, make([]byte, 64)); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if _, _, err := p.frame(); err != nil {
		return fmt.Errorf("read READY: %w", err)
	}
	if p.Channel != wire.IOPub {
		return nil
	}
	if _, err := p.Receive(); err != nil {
		return fmt.Errorf("read subscription: %w", err)
	}
	return nil
}

// Receive reads one message.
func (p *Peer) Receive() ([][]byte, error) {
	var frames [][]byte
	for {
		body, flags, err := p.frame()
		if err != nil {
			return nil, err
		}
		if flags&4 != 0 {
			continue
		}
		if frames = append(frames, body); flags&1 == 0 {
			return frames, nil
		}
	}
}

var errLongFrame = errors.New("frame from the bridge is too long to be true")

func (p *Peer) frame() (body []byte, flags byte, err error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(p.in, head[:2]); err != nil {
		return nil, 0, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err := io.ReadFull(p.in, head[2:]); err != nil {
			return nil, 0, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if size > 1<<30 {
		return nil, 0, errLongFrame
	}
	body = make([]byte, size)
	_, err = io.ReadFull(p.in, body)
	return body, head[0], err
}
