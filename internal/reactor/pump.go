package reactor

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	minPumpRead  = 4 << 10
	maxPumpRead  = 64 << 10
	maxPumpWrite = 64 << 10 // maximum number of bytes taken and not yet written
	// pumpLinger is how long a closed pump continues to write what it took.
	pumpLinger = 5 * time.Second
)

// past returns a deadline that ends a blocked call.
func past() time.Time { return time.Unix(1, 0) }

// pump makes a blocking connection look like a non-blocking socket. One goroutine reads ahead, at most one buffer, so
// that the peer notices if the loop does not take the data. Another goroutine runs only while there is something to
// write.
type pump struct {
	loop *Loop
	key  Key
	conn net.Conn

	pending atomic.Uint32 // Events for the loop; while not zero, the pump is in the loop's inbox

	mu       sync.Mutex
	in       []byte // read but not taken
	inErr    error  // what ended the reading
	taken    chan struct{}
	out      []byte // to be written
	flying   int    // number of bytes being written
	lost     int    // number of bytes that could not be written
	outErr   error
	owed     bool // a Writable is due when there is room
	writing  bool // the writing goroutine is running
	reading  bool // the reading goroutine is running
	shut     bool // CloseWrite was called
	closed   bool
	detached bool
	done     chan struct{} // closed when the reading goroutine has ended
	secured  *Secured      // the result of a handshake, for Loop.Secure
	shake    *shakeConn    // below conn, or nil; set before the goroutine starts
	shaking  atomic.Bool   // the handshake is not over, or Loop.Secure was not called since then
}

func newPump(l *Loop, k Key, c net.Conn) *pump {
	return &pump{
		loop: l, key: k, conn: c, reading: true,
		taken: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// notify passes events to the loop. It is safe for concurrent use.
func (p *pump) notify(ev Events) {
	if p.pending.Or(uint32(ev)) == 0 {
		p.loop.ready.put(p)
		p.loop.Wake()
	}
}

// take returns the pending events and clears them.
func (p *pump) take() Events { return Events(p.pending.Swap(0)) }

// read is the body of the reading goroutine. It ends with the connection, or when the pump is closed or detached.
func (p *pump) read() {
	defer close(p.done)
	if h, ok := p.conn.(Handshaker); ok && !p.shakes(h) {
		return
	}
	buf, small := make([]byte, minPumpRead), 0
	for {
		n, err := p.conn.Read(buf)
		if !p.arrived(buf[:n], err) {
			return
		}
		<-p.taken
		switch {
		case n == len(buf) && n < maxPumpRead:
			buf, small = make([]byte, maxPumpRead), 0
		case n > minPumpRead || len(buf) == minPumpRead:
			small = 0
		default:
			// Return to a small buffer if the peer sends little.
			if small++; small == 16 {
				buf = make([]byte, minPumpRead)
			}
		}
	}
}

// shakes does a handshake. It reports false if p need not read any more.
func (p *pump) shakes(h Handshaker) (on bool) {
	secured, err := h.Handshake()
	if err != nil {
		return p.arrived(nil, err)
	}
	if secured == nil {
		p.notify(Handshaken)
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading, p.secured = false, secured
	if p.closed {
		p.finish()
		return false
	}
	p.notify(Handshaken)
	return false
}

// arrived stores what was read. It reports false if there is nothing more to read.
func (p *pump) arrived(b []byte, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detached {
		p.in = b
		p.reading = false
		return false
	}
	if p.closed || err != nil {
		p.reading = false
	}
	if p.closed {
		p.finish()
		return false
	}
	p.in, p.inErr = b, err
	switch {
	case err != nil:
		p.notify(Readable | Hangup)
	case len(b) == 0:
		p.taken <- struct{}{}
	default:
		p.notify(Readable)
	}
	return err == nil
}

// readTo implements Socket.Read.
func (p *pump) readTo(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	if len(p.in) == 0 {
		switch {
		case p.closed:
			return 0, ErrClosed
		case p.inErr != nil:
			return 0, p.inErr
		default:
			return 0, ErrAgain
		}
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	if len(p.in) == 0 {
		p.resume()
	}
	return n, nil
}

// resume lets the reading goroutine continue. p.mu must be held.
func (p *pump) resume() {
	p.in = nil
	if p.reading {
		p.loop.Runnable()
		select {
		case p.taken <- struct{}{}:
		default:
		}
	}
}

// close implements Socket.Close.
func (p *pump) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.detached {
		return ErrClosed
	}
	p.closed = true
	if p.writing {
		_ = p.conn.SetWriteDeadline(time.Now().Add(pumpLinger))
	}
	if p.reading {
		if h, ok := p.conn.(Handshaker); ok && p.shaking.Load() {
			h.Abandon()
		} else if p.conn.SetReadDeadline(past()) != nil {
			_ = p.conn.Close() // the only other way to end a read
		}
		p.resume()
	}
	p.finish()
	return nil
}

// finish closes the connection of a closed pump once both goroutines have ended. p.mu must be held.
func (p *pump) finish() {
	if p.reading || p.writing {
		return
	}
	if p.secured != nil {
		p.secured.erase()
	}
	switch p.conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		_ = p.conn.Close()
	default:
		go p.conn.Close() //nolint:errcheck // closing TLS may wait for the peer, up to a limit
	}
}

// detach returns the connection and the bytes that were read but not taken. The pump must be off the loop.
func (p *pump) detach() (net.Conn, []byte, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, nil, ErrClosed
	}
	if p.writing || len(p.out) > 0 {
		p.mu.Unlock()
		return nil, nil, errors.Join(ErrUnsent, p.close())
	}
	p.detached = true
	rest := slices.Clone(p.in)
	err := p.conn.SetReadDeadline(past())
	p.resume()
	p.mu.Unlock()
	if err != nil {
		return nil, nil, errors.Join(err, p.conn.Close())
	}
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	rest = append(rest, p.in...) // arrived meanwhile
	p.in = nil
	return p.conn, rest, p.conn.SetReadDeadline(time.Time{})
}
