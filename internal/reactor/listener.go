package reactor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// acceptBackoff is how long a listener pauses when descriptors or memory have run out. They become available only when
// something is closed, and trying all the time would take the loop from connections that could close.
const acceptBackoff = 100 * time.Millisecond

// AcceptFunc handles a socket that was just accepted and added to the loop. remote is the zero value if the socket is
// not an IP socket.
type AcceptFunc func(k Key, s Socket, remote netip.AddrPort)

// Listener is a source of new sockets.
type Listener struct {
	loop    *Loop
	index   int
	accept  AcceptFunc
	back    acceptor
	retryAt int64 // end of a back-off; 0 means none
}

// acceptor is a way to accept sockets.
type acceptor interface {
	ready()        // the poller reports that there is something to accept
	resume() error // begin, or continue after pause
	pause()
	drain() // accept what waits, as far as that can be known
	close()
}

// Listen accepts sockets from ln and calls accept for each, until Stop or Drain is called or Run returns. It does not
// close ln, which must stay open until then. Call Listen on the loop or before Run. accept is called on the loop.
func (l *Loop) Listen(ln net.Listener, accept AcceptFunc) (*Listener, error) {
	if l.stopped.Load() {
		return nil, ErrClosed
	}
	var err error
	li := &Listener{loop: l, accept: accept, index: len(l.listeners)}
	for i, other := range l.listeners {
		if other == nil {
			li.index = i
			break
		}
	}
	if li.back, err = newAcceptor(li, ln); err != nil {
		return nil, fmt.Errorf("reactor: listen: %w", err)
	}
	if !l.acceptOff {
		if err := li.back.resume(); err != nil {
			li.back.close()
			return nil, fmt.Errorf("reactor: listen: %w", err)
		}
	}
	if li.index == len(l.listeners) {
		l.listeners = append(l.listeners, nil)
	}
	l.listeners[li.index] = li
	return li, nil
}

// PauseAccept leaves new connections in the queues of the kernel until ResumeAccept.
func (l *Loop) PauseAccept() {
	l.acceptOff = true
	for _, li := range l.listeners {
		if li != nil {
			li.back.pause()
		}
	}
}

// ResumeAccept ends PauseAccept.
func (l *Loop) ResumeAccept() error {
	l.acceptOff = false
	var errs []error
	for _, li := range l.listeners {
		if li != nil && li.retryAt == 0 {
			errs = append(errs, li.back.resume())
		}
	}
	return errors.Join(errs...)
}

// Drain accepts the sockets that wait, unless accepting is paused, and ends the listener. Call it on the loop.
func (li *Listener) Drain() {
	if li.loop.listeners[li.index] == li && !li.loop.acceptOff {
		li.back.drain()
	}
	li.Stop()
}

// Stop ends the listener. Further calls do nothing. Call it on the loop or before Run.
func (li *Listener) Stop() {
	l := li.loop
	if l.listeners[li.index] != li {
		return
	}
	l.listeners[li.index] = nil
	if li.retryAt > 0 {
		l.retries--
	}
	li.back.close()
}

// backOff pauses the listener for a while.
func (li *Listener) backOff() {
	l := li.loop
	l.count.acceptBackoffs.Add(1)
	if li.retryAt == 0 {
		l.retries++
	}
	li.retryAt = l.now + int64(acceptBackoff)
	li.back.pause()
}

// retryListeners resumes the listeners whose back-off is over.
func (l *Loop) retryListeners() {
	for _, li := range l.listeners {
		if li == nil || li.retryAt == 0 || li.retryAt > l.now {
			continue
		}
		l.retries--
		li.retryAt = 0
		if l.acceptOff {
			continue
		}
		if li.back.resume() != nil {
			li.backOff()
		}
	}
}
