package reactor

import (
	"net"
	"time"
)

// connAcceptor accepts with a goroutine from any kind of listener: where there is no poller, and from listeners without
// a descriptor. The goroutine passes on one connection at a time and ends after stop.
type connAcceptor struct {
	li     *Listener
	ln     net.Listener
	next   chan struct{} // the loop has taken the connection
	stop   chan struct{}
	held   net.Conn // accepted while paused
	begun  bool
	paused bool
}

func newConnAcceptor(li *Listener, ln net.Listener) *connAcceptor {
	return &connAcceptor{li: li, ln: ln, next: make(chan struct{}, 1), stop: make(chan struct{})}
}

func (a *connAcceptor) ready() {}

// drain does nothing: whether a connection waits is not known without waiting for it.
func (a *connAcceptor) drain() {}

func (a *connAcceptor) pause() { a.paused = true }

func (a *connAcceptor) resume() error {
	a.paused = false
	if !a.begun {
		a.begun = true
		a.li.loop.Runnable()
		go a.run()
	}
	if c := a.held; c != nil {
		a.held = nil
		a.took(c)
	}
	return nil
}

func (a *connAcceptor) close() {
	close(a.stop)
	if a.begun {
		a.setDeadline(past())
	}
	if a.held != nil {
		_ = a.held.Close()
		a.held = nil
	}
}

// run is the body of the goroutine. If Accept cannot be interrupted, it outlives stop until the listener is closed or
// another connection arrives, which it closes.
func (a *connAcceptor) run() {
	defer a.setDeadline(time.Time{})
	for {
		c, err := a.ln.Accept()
		if a.stopping() {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil {
			if !a.failed() {
				return
			}
			continue
		}
		if !a.li.loop.Post(func() { a.took(c) }) {
			_ = c.Close()
			return
		}
		select {
		case <-a.next:
		case <-a.stop:
			return
		}
	}
}

// setDeadline sets a deadline for Accept if the listener supports that. It fails only if the listener is closed, and
// then Accept ends anyway.
func (a *connAcceptor) setDeadline(t time.Time) {
	if d, ok := a.ln.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(t)
	}
}

func (a *connAcceptor) stopping() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}

// failed counts an error and waits before the next try. It reports false if the listener is stopped meanwhile.
func (a *connAcceptor) failed() bool {
	count := &a.li.loop.count
	count.acceptErrors.Add(1)
	count.acceptBackoffs.Add(1)
	t := time.NewTimer(acceptBackoff)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.stop:
		return false
	}
}

// took adds a connection to the loop. On the loop.
func (a *connAcceptor) took(c net.Conn) {
	l := a.li.loop
	if a.stopping() {
		_ = c.Close()
		return
	}
	if a.paused {
		a.held = c
		return
	}
	a.next <- struct{}{}
	remote := addrPort(c.RemoteAddr())
	k, s, err := l.AddConn(c)
	if err != nil {
		l.count.acceptErrors.Add(1)
		_ = c.Close()
		return
	}
	l.count.accepted.Add(1)
	a.li.accept(k, s, remote)
}

var _ acceptor = (*connAcceptor)(nil)
