package reactor

import "net"

// write implements Socket.Write.
func (p *pump) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.accept(b)
	p.start()
	return n, err
}

// writev implements Socket.Writev.
func (p *pump) writev(bufs [][]byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range bufs[:min(len(bufs), MaxBuffers)] {
		m, err := p.accept(b)
		n += m
		if err != nil && n == 0 {
			return 0, err
		}
		if m < len(b) {
			break
		}
	}
	p.start()
	return n, nil
}

// waiting implements Socket.Unacknowledged. Of what crypto/tls has written it returns at least the data.
func (p *pump) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out) + p.flying + p.lost + connUnacknowledged(p.conn)
}

// accept takes what there is room for. p.mu must be held.
func (p *pump) accept(b []byte) (int, error) {
	switch {
	case p.closed || p.shut:
		return 0, ErrClosed
	case p.outErr != nil:
		return 0, p.outErr
	case len(b) == 0:
		return 0, nil
	}
	n := min(len(b), maxPumpWrite-len(p.out)-p.flying)
	if n < len(b) {
		p.owed = true
	}
	if n == 0 {
		return 0, ErrAgain
	}
	p.out = append(p.out, b[:n]...)
	return n, nil
}

// start starts the writing goroutine if there is something to write. p.mu must be held.
func (p *pump) start() {
	if p.writing || (len(p.out) == 0 && !p.shut) {
		return
	}
	p.writing = true
	p.loop.Runnable()
	go p.drain()
}

// drain is the body of the writing goroutine. It ends when nothing is left.
func (p *pump) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) > 0 && p.outErr == nil {
		b := p.out
		p.out, p.flying = nil, len(b)
		p.mu.Unlock()
		n, err := p.conn.Write(b)
		p.mu.Lock()
		p.flying = 0
		if err != nil {
			p.lost = len(b) - n + len(p.out)
		}
		if p.out == nil && cap(b) <= minPumpRead {
			p.out = b[:0]
		}
		p.wrote(err)
	}
	if p.shut && p.outErr == nil {
		p.wrote(endWrite(p.conn))
	}
	p.writing, p.out = false, nil
	if p.closed {
		p.finish()
	}
}

// wrote handles the result of a write. p.mu must be held.
func (p *pump) wrote(err error) {
	if err != nil {
		p.outErr, p.out = err, nil
		if !p.closed {
			p.notify(Writable | Hangup)
		}
		return
	}
	if p.owed && !p.closed {
		p.owed = false
		p.notify(Writable)
	}
}

// closeWrite implements Socket.CloseWrite.
func (p *pump) closeWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.conn.(writeCloser); !ok {
		return errNoHalfClose
	}
	switch {
	case p.closed:
		return ErrClosed
	case p.outErr != nil:
		return p.outErr
	case !p.shut:
		p.shut = true
		p.start()
	}
	return nil
}

// writeCloser is a connection that can close its sending side only.
type writeCloser interface{ CloseWrite() error }

// endWrite closes the sending side of a connection.
func endWrite(conn net.Conn) error {
	if c, ok := conn.(writeCloser); ok {
		return c.CloseWrite()
	}
	return errNoHalfClose
}
