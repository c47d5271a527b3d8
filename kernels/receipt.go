package kernels

import "encoding/binary"

// Receipts tell a bridge how much of one WebSocket's bytes its gateway has handed on to the client. Bytes that a
// gateway has taken and not handed on are lost when it ends; without receipts the bridge could not tell which.
//
// A bridge that wants them names an id of 32 hex digits in the header ReceiptsHeader of its 101; the gateway then sends
// POST ReceiptsPath + id on another connection, with receipts as an endless body, and closes it after the last one.
const (
	ReceiptsHeader = "Cellblock-Receipts"
	ReceiptsPath   = "/control/receipts/"
	ReceiptSize    = 8 // bytes
)

// Receipt is the state of one WebSocket as its gateway sees it.
type Receipt struct {
	// Handed counts the bytes after the bridge's 101 that the client's connection has taken; in the last receipt,
	// without those that will not arrive.
	Handed uint64
	// Complete comes with the last receipt: the client has closed its side in order, having taken all that was handed.
	Complete bool
}

const complete = 1 << 63

// Encode returns the receipt's bytes: Handed in big-endian order, Complete as the highest bit.
func (r Receipt) Encode() (b [ReceiptSize]byte) {
	n := r.Handed &^ complete
	if r.Complete {
		n |= complete
	}
	binary.BigEndian.PutUint64(b[:], n)
	return b
}

// DecodeReceipt is the reverse of Encode.
func DecodeReceipt(b [ReceiptSize]byte) Receipt {
	n := binary.BigEndian.Uint64(b[:])
	return Receipt{Handed: n &^ complete, Complete: n&complete != 0}
}
