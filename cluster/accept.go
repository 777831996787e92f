package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// acceptPause is how long a listener is left alone when accepting fails, mostly because descriptors have run out.
const acceptPause = 100 * time.Millisecond

// gatherPause is how long an acceptor lets connections gather in the kernel's queue when they come one after the other
// and the workers are many: taken one by one, each wakes the primary, and a worker that must first be switched to.
const gatherPause = 10 * time.Millisecond

// acceptor takes connections from a listening socket while it is on. The socket stays open when it is off.
type acceptor struct {
	ln   *net.TCPListener
	file *os.File // of the same socket: a net.Listener lets nobody wait for it but its own Accept
	disp *dispatcher

	busy sync.Mutex // held from accepting until the sockets are the dispatcher's

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

// run accepts until close.
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
				a.rest(gatherPause)
			}
			last = now
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || a.isClosed() {
			continue
		}
		a.disp.acceptFailed()
		a.rest(acceptPause)
	}
}

// rest waits, but not beyond close.
func (a *acceptor) rest(d time.Duration) {
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

// wait waits until the acceptor is on; it reports false after close.
func (a *acceptor) wait() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.on && !a.closed {
		a.changed.Wait()
	}
	return !a.closed
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// set turns the acceptor on or off.
func (a *acceptor) set(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.on = on
	var until time.Time
	if !on {
		until = time.Unix(1, 0) // ends the accept that waits
	}
	_ = a.file.SetDeadline(until)
	a.changed.Signal()
}

// isOn says whether the acceptor is on.
func (a *acceptor) isOn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.on
}

// close closes the listening socket for good.
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

// listen opens n listening sockets on one port. More than one share it by SO_REUSEPORT, with which a port that is taken
// by another program of the same user would not be noticed: so it is tried without first.
func listen(ctx context.Context, address string, n int, share bool) ([]*net.TCPListener, error) {
	var list []*net.TCPListener
	fail := func(err error) ([]*net.TCPListener, error) {
		for _, ln := range list {
			_ = ln.Close()
		}
		return nil, fmt.Errorf("cluster: %w", err)
	}
	first, err := net.Listen("tcp", address)
	if err != nil {
		return fail(err)
	}
	if !share {
		return []*net.TCPListener{first.(*net.TCPListener)}, nil
	}
	address = first.Addr().String()
	if err := first.Close(); err != nil {
		return fail(err)
	}
	for range n {
		ln, err := listenShared(ctx, address)
		if err != nil {
			return fail(err)
		}
		list = append(list, ln)
	}
	return list, nil
}

// listenShared opens a listening socket on a port that others may have, too.
func listenShared(ctx context.Context, address string) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: reusePort}
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}
