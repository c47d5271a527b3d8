package egress_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"testing"
)

// echConfig is a list of one encrypted client hello configuration (RFC 9849, section 4) whose outer name is public.
func echConfig(t *testing.T, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub := key.PublicKey().Bytes()
	c := []byte{1}                               // config_id
	c = binary.BigEndian.AppendUint16(c, 0x0020) // DHKEM(X25519, HKDF-SHA256)
	c = binary.BigEndian.AppendUint16(c, uint16(len(pub)))
	c = append(c, pub...)
	c = append(c, 0, 4, 0, 1, 0, 1) // one suite: HKDF-SHA256, AES-128-GCM
	c = append(c, 0, byte(len(public)))
	c = append(c, public...)
	c = append(c, 0, 0) // no extensions
	config := binary.BigEndian.AppendUint16(nil, 0xfe0d)
	config = binary.BigEndian.AppendUint16(config, uint16(len(c)))
	config = append(config, c...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}
