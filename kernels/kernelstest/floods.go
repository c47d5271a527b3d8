package kernelstest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// Floods are attacks by well-formed messages, only far too many or too large.
func Floods() []Attack { return append(outputFloods(), otherFloods()...) }

// flood sends count messages on iopub, each made for the request that set the attack off.
func flood(name string, count int, make func(k *HostileKernel, m wire.Message, i int) wire.Message) Attack {
	return Attack{Name: name, Act: func(p *Peer, m wire.Message) {
		out := p.Kernel.On(wire.IOPub)
		for i := range count {
			if out.Send(p.Kernel.Sign(make(p.Kernel, m, i))) != nil {
				return
			}
		}
		p.Kernel.Publish("status", m.Header, map[string]string{"execution_state": "idle"})
	}}
}

func outputFloods() []Attack {
	stream := func(size int) func(*HostileKernel, wire.Message, int) wire.Message {
		text := map[string]string{"name": "stdout", "text": strings.Repeat("x", size)}
		return func(k *HostileKernel, m wire.Message, _ int) wire.Message { return k.Message("stream", m.Header, text) }
	}
	alone := func(a Attack) Attack { a.Name += ", nobody there"; a.Alone = true; return a }
	return []Attack{
		flood("1 KB messages", 20_000, stream(1<<10)),
		flood("1 MB messages", 100, stream(1<<20)),
		flood("63 MiB messages", 3, stream(63<<20)),
		flood("90 MiB in buffers", 3, func(k *HostileKernel, m wire.Message, _ int) wire.Message {
			large := k.Message("comm_msg", m.Header, map[string]string{"comm_id": "c"})
			large.Buffers = [][]byte{make([]byte, 45<<20), make([]byte, 45<<20)}
			return large
		}),
		alone(flood("1 KB messages", 50_000, stream(1<<10))),
		alone(flood("1 MB messages", 300, stream(1<<20))),
		flood("broken UTF-8, 60 MB", 3, func(k *HostileKernel, m wire.Message, _ int) wire.Message {
			bad := k.Message("stream", m.Header, nil)
			bad.Content = append(append([]byte(`{"name":"stdout","text":"`), bytes.Repeat([]byte("a\xff"), 30_000_000)...), `"}`...)
			return bad
		}),
		flood("120 empty buffers each", 5_000, func(k *HostileKernel, m wire.Message, _ int) wire.Message {
			many := k.Message("comm_msg", m.Header, map[string]string{"comm_id": "c"})
			many.Buffers = make([][]byte, wire.MaxBuffers)
			return many
		}),
		flood("busy with 30 000 requests", 30_000, func(k *HostileKernel, _ wire.Message, i int) wire.Message {
			parent := binary.BigEndian.AppendUint32(nil, uint32(i))
			return k.Message("status", []byte(`{"msg_id":"`+hex.EncodeToString(parent)+`"}`), map[string]string{"execution_state": "busy"})
		}),
		flood("headers of 60 KiB as parents", 1_200, func(k *HostileKernel, _ wire.Message, _ int) wire.Message {
			return k.Message("stream", []byte(`{"x":"`+strings.Repeat("x", 60<<10)+`"}`), map[string]string{"text": ""})
		}),
		flood("contents that are no objects", 50_000, func(k *HostileKernel, m wire.Message, _ int) wire.Message {
			bad := k.Message("stream", m.Header, map[string]string{})
			bad.Content = []byte("[]")
			return bad
		}),
	}
}

func otherFloods() []Attack {
	return []Attack{
		{Name: "one signed message 10 000 times", Act: func(p *Peer, m wire.Message) {
			again := p.Kernel.Sign(p.Kernel.Message("stream", m.Header, map[string]string{"text": "again"}))
			for range 10_000 {
				_ = p.Kernel.On(wire.IOPub).Send(again)
			}
		}},
		{Name: "30 000 requests for input", Act: func(p *Peer, m wire.Message) {
			for range 30_000 {
				_ = p.Kernel.On(wire.Stdin).Send(p.Kernel.Sign(p.Kernel.Message("input_request", m.Header, map[string]string{"prompt": "password:"})))
			}
		}},
		{Name: "a hundred answers", Act: func(p *Peer, m wire.Message) {
			for range 100 {
				_ = p.Send(p.Kernel.Sign(p.Kernel.Message("execute_reply", m.Header, map[string]string{"status": "ok"})))
			}
		}},
		{Name: "answer of 100 MiB", Says: "left out", Act: func(p *Peer, m wire.Message) {
			reply := p.Kernel.Message("execute_reply", m.Header, nil)
			reply.Content = append(append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 100<<20)...), `"}`...)
			_ = p.Send(p.Kernel.Sign(reply))
		}},
		{Name: "passes open files", Says: dropped, Act: func(p *Peer, _ wire.Message) {
			out := p.Kernel.On(wire.IOPub)
			file, err := out.Conn.(*net.UnixConn).File()
			if err != nil {
				return
			}
			defer file.Close()
			rights := syscall.UnixRights(slices.Repeat([]int{int(file.Fd())}, 100)...)
			for range 20 {
				_, _, _ = out.Conn.(*net.UnixConn).WriteMsgUnix(Frame(0, []byte("x")), rights, nil)
			}
		}},
		{Name: "a byte each 2 ms", Act: func(p *Peer, m wire.Message) {
			out := p.Kernel.On(wire.IOPub)
			for _, b := range Join(p.Kernel.Sign(p.Kernel.Message("stream", m.Header, map[string]string{"text": "slow"}))) {
				_, _ = out.Write([]byte{b})
				<-time.After(2 * time.Millisecond)
			}
		}},
	}
}

// NeverReads is a kernel that reads no more requests on shell until release is closed.
func NeverReads(release <-chan struct{}) Attack {
	return Attack{Name: "reads no requests", Act: func(*Peer, wire.Message) { <-release }}
}

// Endless is a flood of outputs of that size, until release is closed.
func Endless(size int, release <-chan struct{}) Attack {
	text := map[string]string{"name": "stdout", "text": strings.Repeat("x", size)}
	return Attack{Name: "endless", Act: func(p *Peer, m wire.Message) {
		out := p.Kernel.On(wire.IOPub)
		for {
			select {
			case <-release:
				return
			default:
			}
			if out.Send(p.Kernel.Sign(p.Kernel.Message("stream", m.Header, text))) != nil {
				return
			}
		}
	}}
}
