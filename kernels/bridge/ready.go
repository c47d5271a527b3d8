package bridge

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"
)

var nullSecurity = null.Security()

// maxProperties bounds the metadata of one READY command.
const maxProperties = 16

// peers are the socket types that may answer each of ours.
var peers = map[zmq4.SocketType][]string{
	zmq4.Sub:    {"PUB", "XPUB"},
	zmq4.Dealer: {"ROUTER", "DEALER", "REP"},
}

// checkReady verifies the body of a READY command (RFC 23: a name and its properties, each with a name of one length
// byte and a value of four) before zmq4 parses it.
func checkReady(body []byte, kind zmq4.SocketType) error {
	const name = "\x05READY"
	if !strings.HasPrefix(string(body), name) {
		return fmt.Errorf("%w: command instead of READY", errProtocol)
	}
	socketType := ""
	rest := body[len(name):]
	for n := 0; len(rest) > 0; n++ {
		if n == maxProperties {
			return fmt.Errorf("%w: more than %d properties", errProtocol, maxProperties)
		}
		key, value, after, err := property(rest)
		if err != nil {
			return err
		}
		if key == "Socket-Type" { // the library takes no other spelling of it, and panics
			if socketType != "" {
				return fmt.Errorf("%w: two socket types", errProtocol)
			}
			socketType = value
		}
		rest = after
	}
	for _, p := range peers[kind] {
		if socketType == p {
			return nil
		}
	}
	return fmt.Errorf("%w: %s socket met %.20q", errProtocol, kind, socketType)
}

func property(b []byte) (key, value string, rest []byte, err error) {
	bad := fmt.Errorf("%w: READY metadata", errProtocol)
	k := int(b[0])
	if k == 0 || len(b) < 1+k+4 {
		return "", "", nil, bad
	}
	v := binary.BigEndian.Uint32(b[1+k:])
	start := 1 + k + 4
	if uint64(v) > uint64(len(b)-start) {
		return "", "", nil, bad
	}
	end := start + int(v)
	return string(b[1 : 1+k]), string(b[start:end]), b[end:], nil
}
