package reactor

import (
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll is the poller of Linux.
type epoll struct {
	fd     int
	park   *park // owns fd
	events []unix.EpollEvent

	wakeMu sync.Mutex // prevents writes to the descriptor after close, when its number may be reused
	waker  int        // an eventfd
	closed bool
}

// newPoller returns the poller for o.
func newPoller(o Options) (poller, error) {
	if o.Portable {
		return newParker(), nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &epoll{fd: fd, events: make([]unix.EpollEvent, o.MaxEvents)}
	if p.park, err = newPark(fd, func() (int, error) { return p.waitRaw(0) }); err != nil {
		return nil, err
	}
	waker, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = p.park.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	p.waker = waker
	// Edge triggered: the eventfd need never be read.
	if err := p.register(waker, unix.EPOLLIN|unix.EPOLLET, Key{Index: wakeIndex}); err != nil {
		_ = p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoll) add(fd int, k Key) error {
	return p.register(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, k)
}

func (p *epoll) register(fd int, events uint32, k Key) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(k.Index), Pad: int32(k.Gen)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

func (p *epoll) remove(fd int) error {
	if p.closed {
		return nil
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil))
}

func (p *epoll) wait(mode waitMode, ns int64) (n int, done bool, err error) {
	ms := -1
	if ns >= 0 {
		ms = int(min((ns+int64(time.Millisecond)-1)/int64(time.Millisecond), 1<<30))
	}
	switch mode {
	case waitNot:
		n, err = p.waitRaw(0)
	case waitRaw:
		n, err = p.waitRaw(ms)
	case waitParked:
		n, err = p.park.wait(ns)
	default:
		n, err = unix.EpollWait(p.fd, p.events, ms)
	}
	if err == unix.EINTR {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, os.NewSyscallError("epoll_wait", err)
	}
	return n, n == 0, nil
}

// waitRaw calls epoll_wait without informing the scheduler. A stop of the world ends the call with EINTR, because the
// scheduler's preemption signal interrupts it.
func (p *epoll) waitRaw(ms int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (p *epoll) event(i int) readiness {
	e := &p.events[i]
	r := readiness{key: Key{Index: uint32(e.Fd), Gen: uint32(e.Pad)}}
	if e.Events&unix.EPOLLIN != 0 {
		r.ev |= Readable
	}
	if e.Events&unix.EPOLLOUT != 0 {
		r.ev |= Writable
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r.ev |= Hangup
	}
	return r
}

func (p *epoll) wake() {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	if p.closed {
		return
	}
	// It does not block, and the scheduler must not see it: where the loop runs at once, on the same core, the monitor
	// thread would take the caller's processor away meanwhile.
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(p.waker), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

func (p *epoll) close() error {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	_ = unix.Close(p.waker)
	return p.park.close()
}

var _ poller = (*epoll)(nil)
