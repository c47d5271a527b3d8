package kernels_test

import (
	"testing"

	"cellblock.io/cellblock/kernels"
)

func TestReceiptsSurviveTheWay(t *testing.T) {
	for _, r := range []kernels.Receipt{{}, {Handed: 1}, {Handed: 1<<63 - 1}, {Handed: 258, Complete: true}, {Complete: true}} {
		if got := kernels.DecodeReceipt(r.Encode()); got != r {
			t.Errorf("%+v became %+v", r, got)
		}
	}
	if b := (kernels.Receipt{Handed: 258, Complete: true}).Encode(); b != [kernels.ReceiptSize]byte{0x80, 0, 0, 0, 0, 0, 1, 2} {
		t.Errorf("bytes %x", b)
	}
}
