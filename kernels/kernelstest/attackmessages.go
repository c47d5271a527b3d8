package kernelstest

import (
	"bytes"
	"fmt"
	"strings"

	"cellblock.io/cellblock/kernels/wire"
)

const dropped = "not valid"

// Messages are attacks by single messages, sound as ZMTP. Says is empty for those that clients get as they are.
func Messages() []Attack {
	return append(append(frameAttacks(), headerAttacks()...), append(contentAttacks(), forgeries()...)...)
}

// onIOPub sends one message, made from a good one.
func onIOPub(name, says string, change func(m *wire.Message)) Attack {
	return Attack{Name: name, Says: says, Act: func(p *Peer, request wire.Message) {
		m := p.Kernel.Message("stream", request.Header, map[string]string{"name": "stdout", "text": "x"})
		change(&m)
		_ = p.Kernel.On(wire.IOPub).Send(p.Kernel.Sign(m))
	}}
}

func frameAttacks() []Attack {
	frames := func(name, says string, change func(f [][]byte) [][]byte) Attack {
		return Attack{Name: name, Says: says, Act: func(p *Peer, request wire.Message) {
			m := p.Kernel.Message("stream", request.Header, map[string]string{"name": "stdout", "text": "x"})
			_ = p.Kernel.On(wire.IOPub).Send(change(p.Kernel.Sign(m)))
		}}
	}
	signature := func(name string, change func(s []byte) []byte) Attack {
		return frames("signature "+name, dropped, func(f [][]byte) [][]byte { f[1] = change(f[1]); return f })
	}
	routed := func(f [][]byte, id string, n int) [][]byte {
		return append(bytes.Split([]byte(strings.Repeat(id+"\n", n-1)+id), []byte("\n")), f...)
	}
	return []Attack{
		signature("missing", func([]byte) []byte { return nil }),
		signature("cut", func(s []byte) []byte { return s[:32] }),
		signature("doubled", func(s []byte) []byte { return append(s, s...) }),
		signature("upper case", bytes.ToUpper),
		signature("of another", func(s []byte) []byte { return bytes.Repeat([]byte("0"), len(s)) }),
		frames("no delimiter", dropped, func(f [][]byte) [][]byte { return f[1:] }),
		frames("nothing after the delimiter", dropped, func(f [][]byte) [][]byte { return f[:1] }),
		frames("three parts", dropped, func(f [][]byte) [][]byte { return f[:5] }),
		frames("one empty frame", dropped, func(f [][]byte) [][]byte { return [][]byte{nil} }),
		frames("eight identities", "", func(f [][]byte) [][]byte { return routed(f, "id", wire.MaxIdentities) }),
		frames("nine identities", dropped, func(f [][]byte) [][]byte { return routed(f, "id", wire.MaxIdentities+1) }),
		frames("identity of 1 MiB", dropped, func(f [][]byte) [][]byte { return routed(f, strings.Repeat("x", 1<<20), 1) }),
		frames("121 buffers", dropped, func(f [][]byte) [][]byte { return append(f, make([][]byte, wire.MaxBuffers+1)...) }),
	}
}

func headerAttacks() []Attack {
	header := func(name, says, text string) Attack {
		return onIOPub("header "+name, says, func(m *wire.Message) { m.Header = []byte(text) })
	}
	typed := func(msgType string) string { return `{"msg_id":"x","session":"s","msg_type":"` + msgType + `"}` }
	return []Attack{
		header("with msg_type twice", dropped, `{"msg_id":"x","msg_type":"stream","msg_type":"execute_reply"}`),
		header("with msg_type twice, escaped", dropped, `{"msg_id":"x","msg_type":"stream","msg\u005ftype":"execute_reply"}`),
		header("with msg_type in other cases", "", `{"msg_id":"x","msg_type":"stream","MSG_TYPE":"execute_reply","Msg_Id":"y"}`),
		header("without msg_id", dropped, `{"msg_type":"stream"}`),
		header("with numbers", dropped, `{"msg_id":1,"msg_type":2}`),
		header("of depth 100 000", dropped, `{"msg_id":"x","msg_type":"stream","x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`}`),
		header("of 10 MiB", dropped, typed(strings.Repeat("x", 10<<20))),
		header("with 10 000 names", dropped, `{"msg_id":"x"`+strings.Repeat(`,"y":0`, 10_000)+`}`),
		header("type of 2 KiB", dropped, typed(strings.Repeat("x", 2<<10))),
		header("type unknown", "", typed("../../etc/passwd")),
		header("type with control characters", "", typed(`\u0000\u001b]52;c;eA==\u0007\u202e\ntime=now level=ERROR msg=forged`)),
		header("type empty", dropped, typed("")),
		header("not an object", dropped, `"stream"`),
		header("with NaN", dropped, `{"msg_id":"x","msg_type":"stream","date":NaN}`),
		header("with a BOM", dropped, "\uFEFF"+typed("stream")),
		header("not UTF-8", dropped, typed("a\xff")),
		onIOPub("parent of 10 MiB", dropped, func(m *wire.Message) { m.Parent = []byte(`{"x":"` + strings.Repeat("x", 10<<20) + `"}`) }),
		onIOPub("parent with msg_id twice", dropped, func(m *wire.Message) { m.Parent = []byte(`{"msg_id":"a","msg_id":"b"}`) }),
		onIOPub("metadata of 2 MiB", dropped, func(m *wire.Message) { m.Metadata = []byte(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`) }),
		onIOPub("all parts empty", dropped, func(m *wire.Message) { *m = wire.Message{} }),
	}
}

func contentAttacks() []Attack {
	content := func(name, says, text string) Attack {
		return onIOPub("content "+name, says, func(m *wire.Message) { m.Content = []byte(text) })
	}
	return []Attack{
		content("that rewrites the envelope", dropped, `{},"channel":"shell","x":{}`),
		content("that ends the envelope", dropped, `{}}{"channel":"shell"}`),
		content("twice", dropped, `{} {}`),
		content("of depth 100 000", dropped, `{"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`}`),
		content("with NaN", dropped, `{"x":NaN}`),
		content("with Infinity", dropped, `{"x":-Infinity}`),
		content("with a huge number", "", `{"x":1e999999}`),
		content("with a lone surrogate", "", `{"text":"\ud800"}`),
		content("with a raw NUL", dropped, "{\"text\":\"\x00\"}"),
		content("with a NUL", "", `{"text":"\u0000"}`),
		content("with a BOM", dropped, "\uFEFF{}"),
		content("not UTF-8", "", "{\"text\":\"\xed\xa0\x80\xff\"}"),
		content("with names twice", "", `{"text":"a","text":"b","Text":"c"}`),
		content("an array", dropped, `[]`),
		content("null", dropped, `null`),
		content("empty", dropped, ``),
		content("pickled", dropped, "\x80\x04}q\x00."),
		content("with HTML", "", `{"data":{"text/html":"</script><script>alert(1)</script>"}}`),
	}
}

// forgeries are messages that claim to be what they are not. None of them may reach a client that did not ask.
func forgeries() []Attack {
	forge := func(name string, ch wire.Channel, msgType string, parent string, content map[string]string) Attack {
		return Attack{Name: name, Act: func(p *Peer, _ wire.Message) {
			_ = p.Kernel.On(ch).Send(p.Kernel.Sign(p.Kernel.Message(msgType, []byte(parent), content)))
		}}
	}
	ok := map[string]string{"status": "ok"}
	stranger := `{"msg_id":"stranger","session":"bystander","msg_type":"execute_request"}`
	list := []Attack{
		forge("reply to nobody", wire.Shell, "execute_reply", `{"msg_id":"never sent"}`, ok),
		forge("reply to a stranger", wire.Shell, "execute_reply", stranger, ok),
		forge("reply without a parent", wire.Shell, "execute_reply", `{}`, ok),
		forge("question to a stranger", wire.Stdin, "input_request", stranger, map[string]string{"prompt": "password:"}),
		forge("output on shell", wire.Shell, "stream", stranger, map[string]string{"text": "x"}),
		forge("request to the bridge", wire.Control, "shutdown_request", `{}`, ok),
		forge("status dead", wire.IOPub, "status", `{}`, map[string]string{"execution_state": "dead"}),
		forge("status unknown", wire.IOPub, "status", stranger, map[string]string{"execution_state": "on fire"}),
		forge("welcome", wire.IOPub, "iopub_welcome", `{}`, ok),
	}
	for _, ch := range []wire.Channel{wire.Shell, wire.Stdin, wire.Control} {
		list = append(list, Attack{Name: fmt.Sprintf("rubbish on %s", ch), Says: dropped, Act: func(p *Peer, _ wire.Message) {
			_ = p.Kernel.On(ch).Send([][]byte{[]byte("rubbish")})
		}})
	}
	return list
}
