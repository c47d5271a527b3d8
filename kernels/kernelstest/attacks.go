package kernelstest

import (
	"bytes"
	"io"
	"strings"

	"cellblock.io/cellblock/kernels/wire"
)

// Attack is one thing that a hostile kernel does.
type Attack struct {
	Name string
	// Meet takes connections over from their first byte on (HostileKernel.Meet), and Start the requests that come
	// before the kernel is known to be up. Until both give way the kernel does not come up.
	Meet func(p *Peer) bool
	// Start is HostileKernel.OnRequest in that time.
	Start func(p *Peer, m wire.Message, h wire.Header) bool
	// Act is done when a client asks to execute "attack"; m is that request, p the shell.
	Act func(p *Peer, m wire.Message)
	// Ends: clients must read that the kernel is restarting. Otherwise it lives on and answers the next request.
	Ends bool
	// Says is part of what clients must read on iopub, if anything.
	Says string
	// Slow attacks wait for a deadline of the bridge's.
	Slow bool
	// Alone: no client is there while it lasts.
	Alone bool
}

// Handshakes are attacks before the first message. The kernel must count as not there, and must come up as soon as it
// behaves.
func Handshakes() []Attack {
	hello := Greeting(nil)
	ready := func(metadata string) []byte { return append(hello, Command("\x05READY"+metadata)...) }
	xpub := Property("Socket-Type", "XPUB")
	says := func(name string, b []byte) Attack { return Attack{Name: name, Meet: saying(b)} }
	slow := func(name string, b []byte) Attack { return Attack{Name: name, Meet: saying(b), Slow: true} }
	return []Attack{
		slow("no greeting", nil),
		slow("half a greeting", hello[:40]),
		slow("a greeting and nothing more", hello),
		slow("half a READY", append(hello, Ready("XPUB")[:20]...)),
		slow("HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")),
		slow("TLS", []byte("\x15\x03\x03\x00\x02\x02\x28")),
		says("garbage", bytes.Repeat([]byte("garbage "), 1<<10)),
		says("ZMTP 2", Greeting(func(b []byte) { b[10] = 1 })),
		says("PLAIN", Greeting(func(b []byte) { copy(b[12:], "PLAIN") })),
		says("ERROR", append(hello, Command("\x05ERROR\x03bad")...)),
		says("message before READY", append(hello, Frame(0, []byte("x"))...)),
		says("no socket type", ready("")),
		says("wrong socket type", ready(Property("Socket-Type", "PULL"))),
		says("two socket types", ready(xpub+xpub)),
		says("empty name", ready("\x00")),
		says("name beyond the end", ready("\xff")),
		says("value beyond the end", ready("\x0bSocket-Type\xff\xff\xff\xff")),
		says("10 000 properties", ready(xpub+strings.Repeat(Property("x", ""), 10_000))),
		says("READY of 2^63", append(hello, FrameHead(4, 1<<63)...)),
		says("close", nil).closing(),
		{Name: "greet and close", Meet: func(p *Peer) bool { _ = p.Greet(); return true }},
	}
}

// saying sends b and waits until the bridge closes.
func saying(b []byte) func(p *Peer) bool {
	return func(p *Peer) bool {
		_, _ = p.Write(b)
		_, _ = io.Copy(io.Discard, p.in)
		return true
	}
}

// closing makes the kernel close at once instead.
func (a Attack) closing() Attack {
	a.Meet = func(*Peer) bool { return true }
	return a
}

// Starts are attacks by kernels that greet well and then lie about being up.
func Starts() []Attack {
	info := func(name string, answer func(p *Peer, m wire.Message)) Attack {
		return Attack{Name: name, Start: func(p *Peer, m wire.Message, _ wire.Header) bool { answer(p, m); return true }}
	}
	banner := bytes.Repeat([]byte("x"), 100<<20)
	return []Attack{
		info("no kernel_info", func(*Peer, wire.Message) {}),
		info("kernel_info without outputs", func(p *Peer, m wire.Message) {
			_ = p.Send(p.Kernel.Sign(p.Kernel.Message("kernel_info_reply", m.Header, map[string]string{})))
		}),
		info("kernel_info to nobody", func(p *Peer, _ wire.Message) {
			_ = p.Send(p.Kernel.Sign(p.Kernel.Message("kernel_info_reply", []byte(`{"msg_id":"x"}`), map[string]string{})))
		}),
		info("banner of 100 MiB", func(p *Peer, m wire.Message) {
			reply := p.Kernel.Message("kernel_info_reply", m.Header, nil)
			reply.Content = append(append([]byte(`{"banner":"`), banner...), `"}`...)
			_ = p.Send(p.Kernel.Sign(reply))
		}),
		info("kernel_info a hundred times, unsigned", func(p *Peer, m wire.Message) {
			frames := p.Kernel.Sign(p.Kernel.Message("kernel_info_reply", m.Header, map[string]string{}))
			frames[1] = nil
			for range 100 {
				_ = p.Send(frames)
			}
		}),
	}
}

// Streams are attacks on the framing, after a good handshake.
func Streams() []Attack {
	ends := func(name string, ch wire.Channel, b ...[]byte) Attack {
		return Attack{Name: name, Ends: true, Act: func(p *Peer, _ wire.Message) {
			if to := p.Kernel.On(ch); to != nil {
				_, _ = to.Write(bytes.Join(b, nil))
			}
		}}
	}
	list := []Attack{
		ends("reserved flags", wire.IOPub, []byte("\x08\x00")),
		ends("command in a message", wire.Shell, Frame(1, nil), Command("\x04PING")),
		ends("command with MORE", wire.Control, Frame(5, []byte("\x04PING"))),
		ends("PING of 64 KiB", wire.IOPub, Command("\x04PING"+strings.Repeat("x", 64<<10))),
		ends("PING storm", wire.Shell, bytes.Repeat(Command("\x04PING\x00\x00"), 10_000)),
		ends("PONG storm", wire.IOPub, bytes.Repeat(Command("\x04PONG"), 10_000)),
		ends("SUBSCRIBE storm", wire.Stdin, bytes.Repeat(Command("\x09SUBSCRIBE"), 10_000)),
		{Name: "endless MORE, empty", Ends: true, Act: endless(Frame(1, nil))},
		{Name: "endless MORE, one byte", Ends: true, Act: endless(Frame(1, []byte("x")))},
		{Name: "endless MORE, 1 MiB", Ends: true, Act: endless(Frame(1, make([]byte, 1<<20)))},
		{Name: "closes iopub", Ends: true, Act: func(p *Peer, _ wire.Message) { p.Kernel.On(wire.IOPub).Close() }},
		{Name: "closes shell", Ends: true, Act: func(p *Peer, _ wire.Message) { p.Close() }},
	}
	for name, size := range map[string]uint64{"2^31": 1 << 31, "2^32": 1 << 32, "2^36": 1 << 36, "2^49": 1 << 49, "2^63-1": 1<<63 - 1, "2^64-1": 1<<64 - 1} {
		list = append(list, ends("frame of "+name, wire.IOPub, FrameHead(0, size), []byte("x")))
	}
	for _, stall := range []Attack{
		ends("iopub stalls in a head", wire.IOPub, FrameHead(0, 1000)[:5]),
		ends("iopub stalls in a frame", wire.IOPub, FrameHead(0, 1000), []byte("x")),
		ends("shell stalls in a frame", wire.Shell, FrameHead(0, 1000), []byte("x")),
		ends("iopub stalls in a message", wire.IOPub, Frame(1, []byte("x"))),
		ends("64 MiB declared, one byte sent", wire.IOPub, FrameHead(0, 64<<20), []byte("x")),
		ends("1 GiB declared, one byte sent", wire.IOPub, FrameHead(0, 1<<30), []byte("x")),
	} {
		stall.Slow = true
		list = append(list, stall)
	}
	return list
}

// endless sends frame on iopub until the bridge closes, many at a time.
func endless(frame []byte) func(*Peer, wire.Message) {
	return func(p *Peer, _ wire.Message) {
		out := p.Kernel.On(wire.IOPub)
		many := bytes.Repeat(frame, max(1, 64<<10/len(frame)))
		for {
			if _, err := out.Write(many); err != nil {
				return
			}
		}
	}
}
