package reactor

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// park waits for an epoll instance in Go's own poller, which is one, too: the goroutine that waits needs no thread
// meanwhile. It is for the loop only.
type park struct {
	file     *os.File // of the descriptor, which it owns
	raw      syscall.RawConn
	deadline time.Time // that of file; zero is none
	poll     func() (int, error)
	look     func(uintptr) bool // takes events with poll, and reports whether that ends the wait
	n        int                // what poll returned
	err      error
}

// newPark takes over the descriptor of an epoll instance, even if there is an error. poll takes events without waiting.
func newPark(fd int, poll func() (int, error)) (*park, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // which makes os.NewFile add it to Go's poller
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &park{file: os.NewFile(uintptr(fd), "epoll"), poll: poll}
	p.look = func(uintptr) bool {
		p.n, p.err = p.poll()
		return p.n > 0 || p.err != nil
	}
	err := p.file.SetReadDeadline(p.deadline) // fails unless it is in Go's poller
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// wait returns what poll returns, as soon as that is something, or 0 after ns nanoseconds or earlier. With ns < 0 there
// is no timeout.
func (p *park) wait(ns int64) (int, error) {
	p.limit(ns)
	switch err := p.raw.Read(p.look); {
	case errors.Is(err, os.ErrDeadlineExceeded): // perhaps before it has looked
		return p.poll()
	case err != nil:
		return 0, err
	}
	return p.n, p.err
}

// limit ends the next wait after ns nanoseconds or earlier: a deadline that is to come already stays, because changing
// it at each wait would cost more than a turn from time to time.
func (p *park) limit(ns int64) {
	if ns < 0 {
		if !p.deadline.IsZero() {
			p.setDeadline(time.Time{})
		}
		return
	}
	now := time.Now()
	at := now.Add(time.Duration(ns))
	if p.deadline.IsZero() || at.Before(p.deadline) || !now.Before(p.deadline) {
		p.setDeadline(at)
	}
}

func (p *park) setDeadline(at time.Time) {
	p.deadline = at
	_ = p.file.SetReadDeadline(at) // as in newPark, where it did not fail
}

func (p *park) close() error { return p.file.Close() }
