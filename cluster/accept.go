package cluster

import (
	"errors"
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
	ln     net.Listener
	file   *os.File // a duplicate of ln: a net.Listener can be waited for by its own Accept only
	disp   *dispatcher
	number uint16 // of the endpoint

	busy sync.Mutex // held from accepting sockets until the dispatcher has them

	mu      sync.Mutex
	changed sync.Cond
	on      bool
	closed  bool
	done    chan struct{}
}

func newAcceptor(ln net.Listener, d *dispatcher, number uint16) (*acceptor, error) {
	file, err := fileOf(ln)
	if err != nil {
		return nil, err
	}
	a := &acceptor{ln: ln, file: file, disp: d, number: number, done: make(chan struct{})}
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
			a.disp.put(fds, a.number)
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

// drain passes on the connections that wait in the queue of the socket, and closes it. It ends run.
func (a *acceptor) drain() {
	a.unlink() // no client may come after the last one was accepted
	a.set(false)
	a.busy.Lock()
	defer a.busy.Unlock()
	for {
		fds, err := acceptNow(a.file, batchSize)
		if len(fds) > 0 {
			a.disp.put(fds, a.number)
		}
		if err != nil {
			a.disp.acceptFailed()
		}
		if len(fds) == 0 {
			a.close()
			return
		}
	}
}

// unlink removes the file of a Unix socket, by which clients find it.
func (a *acceptor) unlink() {
	if l, ok := a.ln.(interface{ Remove() error }); ok {
		_ = l.Remove() // if the file stays, the next server replaces it
	}
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
	a.unlink()
	_ = a.file.Close()
	_ = a.ln.Close()
}
