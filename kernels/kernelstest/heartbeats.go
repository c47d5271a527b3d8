package kernelstest

import (
	"bytes"

	"cellblock.io/cellblock/kernels/wire"
)

// Heartbeats are attacks on the socket that only has to echo.
func Heartbeats() []Attack {
	wrong := [][]byte{nil, []byte("wrong")}
	none := func(*Peer, [][]byte) {}
	return []Attack{
		beating("a hundred echoes of each", func(p *Peer, beat [][]byte) {
			_, _ = p.Write(bytes.Repeat(Join(beat), 100))
		}),
		beating("wrong echoes before the right one", func(p *Peer, beat [][]byte) {
			_, _ = p.Write(append(bytes.Repeat(Join(wrong), 100), Join(beat)...))
		}),
		beating("each echo one beat late", late()),
		beating("closes after each echo", func(p *Peer, beat [][]byte) { _ = p.Send(beat); p.Close() }),
		silent("no echo any more", none),
		silent("wrong echoes only", func(p *Peer, _ [][]byte) { _ = p.Send(wrong) }),
		silent("closes instead of an echo", func(p *Peer, _ [][]byte) { p.Close() }),
		silent("echoes without end", func(p *Peer, _ [][]byte) {
			for many := bytes.Repeat(Join(wrong), 1000); ; {
				if _, err := p.Write(many); err != nil {
					return
				}
			}
		}),
		{Name: "echo of 65 bytes", Ends: true, Slow: true, Says: "no kernel may send", Act: func(p *Peer, _ wire.Message) {
			p.Kernel.echoOnce(func(p *Peer) { _ = p.Send([][]byte{make([]byte, 65)}) })
		}},
		{Name: "echo of 1 GiB", Ends: true, Slow: true, Says: "no kernel may send", Act: func(p *Peer, _ wire.Message) {
			p.Kernel.echoOnce(func(p *Peer) { _, _ = p.Write(FrameHead(0, 1<<30)) })
		}},
	}
}

// echoWith has fn called at each beat until the link ends, instead of an echo.
func (k *HostileKernel) echoWith(fn func(p *Peer, beat [][]byte)) { k.echo.Store(&fn) }

// echoOnce has fn called at the next beat only: each link that ends so takes what was asked in it along.
func (k *HostileKernel) echoOnce(fn func(p *Peer)) {
	k.echoWith(func(p *Peer, _ [][]byte) {
		k.echo.Store(nil)
		fn(p)
	})
}

// beating does no harm: the kernel is asked on when six beats, longer than a silence may last, have gone that way.
func beating(name string, echo func(p *Peer, beat [][]byte)) Attack {
	return Attack{Name: name, Slow: true, Act: func(p *Peer, _ wire.Message) {
		p.Kernel.echoWith(echo)
		p.Kernel.awaitBeats(6)
		p.Kernel.echo.Store(nil)
	}}
}

// silent makes the kernel fall silent, once.
func silent(name string, echo func(p *Peer, beat [][]byte)) Attack {
	return Attack{Name: name, Slow: true, Ends: true, Says: "does not answer any more", Act: func(p *Peer, _ wire.Message) {
		p.Kernel.echoWith(echo)
	}}
}

// late answers each beat when the next one has come.
func late() func(p *Peer, beat [][]byte) {
	var last [][]byte
	return func(p *Peer, beat [][]byte) {
		if last != nil {
			_ = p.Send(last)
		}
		last = beat
	}
}
