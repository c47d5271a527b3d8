// Package receipt lets a gateway tell a bridge how much of one WebSocket's bytes it has handed on to the client. Bytes
// that a gateway has taken and not handed on are lost when it ends, and only the gateway knows which. It writes the count
// into a page of memory that both have mapped: that costs nothing per message, and the last count is there for the
// bridge however the gateway ended.
//
// The gateway passes the page's descriptor with the first byte of its upgrade request (unix(7), SCM_RIGHTS).
package receipt

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// size is one page, of which one word is used.
const size = 4096

// Receipt is the state of one WebSocket as its gateway sees it.
type Receipt struct {
	// Handed counts the bytes after the bridge's 101 that the client's connection has taken; in the last receipt,
	// without those that will not arrive.
	Handed int64
	// Last says that no more will come.
	Last bool
}

// last is the bit of the word that stands for Last; the others are Handed.
const last = 1 << 63

// Slip is where receipts of one WebSocket are written, the last one over the one before. It is safe for concurrent use.
type Slip struct {
	mu   sync.Mutex
	page []byte // nil once it is closed
	last Receipt
}

// New makes a slip, and the file through which another process opens it. Both are the caller's to close.
func New() (*Slip, *os.File, error) {
	fd, err := unix.MemfdCreate("receipts", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("make receipts: %w", err)
	}
	f := os.NewFile(uintptr(fd), "receipts")
	err = unix.Ftruncate(fd, size)
	if err == nil { // a page that vanished would end whoever touches it
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	var s *Slip
	if err == nil {
		s, err = mapped(fd, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("make receipts: %w", err)
	}
	return s, f, nil
}

// Open opens the slip behind a file that another process passed, for reading only. A file that could shrink, or is no
// slip at all, is refused. The file stays the caller's.
func Open(f *os.File) (*Slip, error) {
	fd := int(f.Fd())
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	if seals&unix.F_SEAL_SHRINK == 0 || stat.Size != size {
		return nil, errors.New("open receipts: not a sealed page")
	}
	s, err := mapped(fd, unix.PROT_READ)
	if err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	return s, nil
}

func mapped(fd, protection int) (*Slip, error) {
	page, err := unix.Mmap(fd, 0, size, protection, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Slip{page: page}, nil
}

// word is the one that both processes see. Called with mu held, of an open slip.
func (s *Slip) word() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&s.page[0])) }

// Write replaces the receipt. It is for the slip's maker.
func (s *Slip) Write(r Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page == nil {
		return
	}
	n := uint64(max(0, r.Handed))
	if r.Last {
		n |= last
	}
	s.word().Store(n)
}

// Read returns the newest receipt; of a closed slip, the newest when it was closed.
func (s *Slip) Read() Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page != nil {
		n := s.word().Load()
		s.last = Receipt{Handed: int64(n &^ last), Last: n&last != 0}
	}
	return s.last
}

// Close gives the page back. What was written to it stays readable for the other side.
func (s *Slip) Close() {
	s.Read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page != nil {
		_ = unix.Munmap(s.page) // fails only for what is no mapping
		s.page = nil
	}
}
