package bridge

import (
	"testing"

	"cellblock.io/cellblock/kernels/receipt"
)

// Messages that are left out for the rate limit take no room among those that are on their way, however many they are
// while a client stalls.
func TestMarksOfWhatIsNotSent(t *testing.T) {
	slip, file, err := receipt.New()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer slip.Close()
	c := &client{receipts: &receipts{Slip: slip}}
	c.wroteTo([]mark{{100, 1}})
	const left = 2 * maxMarks
	for i := range left {
		c.wroteTo([]mark{{200, uint64(i + 2)}})
	}
	slip.Write(receipt.Receipt{Handed: 199})
	c.wroteTo(nil)
	if c.lostCount || c.arrived != 1 {
		t.Errorf("arrived %d, count lost %v", c.arrived, c.lostCount)
	}
	slip.Write(receipt.Receipt{Handed: 200})
	c.wroteTo(nil)
	if c.arrived != left+1 {
		t.Errorf("arrived %d", c.arrived)
	}
}
