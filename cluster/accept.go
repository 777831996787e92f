package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// acceptPause is how long an acceptor waits after accepting has failed, usually because descriptors have run out.
const acceptPause = 100 * time.Millisecond

// gatherPause is how long an acceptor lets connections gather in the kernel's queue when they arrive one at a time and
// there are many workers. If it took them one by one, each would wake the primary, and then a worker that has to be
// scheduled first.
const gatherPause = 10 * time.Millisecond

// acceptor takes connections from a listening socket while it is on. The socket stays open while the acceptor is off.
type acceptor struct {
	ln   *net.TCPListener
	file *os.File // a duplicate of ln: a net.Listener can be waited for by its own Accept only
	disp *dispatcher

	busy sync.Mutex // held from accepting sockets until the dispatcher has them

	mu      sync.Mutex
	changed sync.Cond
	on      bool
	closed  bool
	done    chan struct{}
}

func newAcceptor(ln *net.TCPListener, d *dispatcher) (*acceptor, error) {
	file, err := ln.File()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	a := &acceptor{ln: ln, file: file, disp: d, done: make(chan struct{})}
	a.changed.L = &a.mu
	return a, nil
}

// run accepts until close is called.
func (a *acceptor) run() {
	var last time.Time
	for a.wait() {
		a.busy.Lock()
		fds, err := acceptBatch(a.file, batchSize)
		if len(fds) > 0 {
			a.disp.put(fds)
		}
		a.busy.Unlock()
		if now := time.Now(); 0 < len(fds) && len(fds) < batchSize/2 && a.disp.many() {
			if now.Sub(last) < 2*gatherPause {
				a.sleep(gatherPause)
			}
			last = now
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || a.isClosed() {
			continue
		}
		a.disp.acceptFailed()
		a.sleep(acceptPause)
	}
}

// sleep waits for d, or until close is called.
func (a *acceptor) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-a.done:
	}
}

func (a *acceptor) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// wait blocks until the acceptor is on. It reports false after close.
func (a *acceptor) wait() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.on && !a.closed {
		a.changed.Wait()
	}
	return !a.closed
}

// set turns the acceptor on or off.
func (a *acceptor) set(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.on = on
	var deadline time.Time
	if !on {
		deadline = time.Unix(1, 0) // interrupts a blocked accept
	}
	_ = a.file.SetDeadline(deadline)
	a.changed.Signal()
}

// isOn reports whether the acceptor is on.
func (a *acceptor) isOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.on
}

// close closes the listening socket and ends run.
func (a *acceptor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	close(a.done)
	a.changed.Signal()
	_ = a.file.Close()
	_ = a.ln.Close()
}
