package receipt_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/receipt"
)

func pair(t *testing.T) (writer, reader *receipt.Slip) {
	t.Helper()
	writer, f, err := receipt.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(writer.Close)
	defer f.Close()
	if reader, err = receipt.Open(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	return writer, reader
}

func TestReceiptsAreSeenByTheOtherSide(t *testing.T) {
	writer, reader := pair(t)
	for _, r := range []receipt.Receipt{{}, {Handed: 1}, {Handed: 1<<62 - 1}, {Handed: 258, Last: true}, {Last: true}} {
		writer.Write(r)
		if got := reader.Read(); got != r {
			t.Errorf("%+v became %+v", r, got)
		}
	}
}

func TestTheLastReceiptOutlivesTheSlip(t *testing.T) {
	writer, reader := pair(t)
	want := receipt.Receipt{Handed: 7}
	writer.Write(want)
	writer.Close()
	writer.Write(receipt.Receipt{Handed: 8})
	if got := reader.Read(); got != want {
		t.Errorf("after the writer closed: %+v", got)
	}
	reader.Close()
	if got := reader.Read(); got != want {
		t.Errorf("after both closed: %+v", got)
	}
}

// Whoever maps a file that can shrink is at the mercy of who holds it.
func TestOnlySealedPagesAreOpened(t *testing.T) {
	plain, err := os.Create(filepath.Join(t.TempDir(), "page"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("loose", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	loose := os.NewFile(uintptr(fd), "loose")
	defer loose.Close()
	if err := loose.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	fd, err = unix.MemfdCreate("short", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	short := os.NewFile(uintptr(fd), "short")
	defer short.Close()
	if _, err := unix.FcntlInt(short.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{plain, loose, short} {
		if s, err := receipt.Open(f); err == nil {
			s.Close()
			t.Errorf("%s was opened", f.Name())
		}
	}
}

func TestFilesPassOverASocket(t *testing.T) {
	near, far := kernelstest.SocketPair(t)
	writer, f, err := receipt.New()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, _, err := near.WriteMsgUnix([]byte("x"), unixsocket.Pass(f.Fd()), nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b, room := make([]byte, 10), unixsocket.Room()
	n, controls, _, _, err := far.ReadMsgUnix(b, room)
	if err != nil || n != 1 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	passed := unixsocket.Passed(room[:controls])
	if passed == nil {
		t.Fatal("no file came")
	}
	defer passed.Close()
	reader, err := receipt.Open(passed)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer.Write(receipt.Receipt{Handed: 3})
	if got := reader.Read().Handed; got != 3 {
		t.Errorf("read %d", got)
	}
	if unixsocket.Passed(nil) != nil {
		t.Error("a file out of nothing")
	}
}
