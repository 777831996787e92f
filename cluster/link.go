package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// The kinds of frames.
const (
	kindMessage  byte = iota + 1 // both ways: opaque
	kindConns                    // to a worker: number of the batch (4); accepted sockets beside it
	kindDrain                    // to a worker: milliseconds until its end (8)
	kindReady                    // to the primary
	kindAck                      // to the primary: number of the batch (4), how many sockets were taken (2)
	kindReport                   // to the primary: load (8), opaque
	kindListener                 // to a worker, first of all: the slot's listening socket beside it
)

// maxWrite is how many bytes of small frames leave in one system call.
const maxWrite = 256 << 10

// link is one side of a socketpair: a queue with a goroutine that writes, and one that reads.
type link struct {
	conn  *fdpass.Conn
	limit int

	mu      sync.Mutex
	work    sync.Cond
	queue   []parcel
	queued  int    // bytes in queue, and in the parcel on its way
	spare   []byte // storage for the next parcel
	refused uint64 // frames that found the queue full
	closing bool   // write what is queued, then end
	closed  bool
	written chan struct{} // closed when the writer has ended
}

// parcel is what leaves in one system call: frames, or one frame with descriptors.
type parcel struct {
	frames []byte
	fds    []int
}

// newLink makes a link of a connection and starts to write. limit bounds the queue in bytes.
func newLink(conn *fdpass.Conn, limit int) *link {
	l := &link{conn: conn, limit: limit, written: make(chan struct{})}
	l.work.L = &l.mu
	go l.write() // ends with close, or when the peer is gone
	return l
}

// maxPayload is the longest payload that is sent, in bytes: what the other side receives.
const maxPayload = maxFrame

// send queues a frame. The payload may be used again when it returns. A frame that finds the queue empty is always
// taken.
func (l *link) send(kind byte, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(kind, len(payload)); err != nil {
		return err
	}
	last := len(l.queue) - 1
	if last < 0 || l.queue[last].fds != nil || len(l.queue[last].frames)+len(payload) > maxWrite {
		l.queue = append(l.queue, parcel{frames: l.spare[:0]})
		l.spare = nil
		last++
	}
	p := &l.queue[last]
	before := len(p.frames)
	p.frames = fdpass.AppendFrame(p.frames, kind, 0, payload)
	l.queued += len(p.frames) - before
	l.work.Signal()
	return nil
}

// sendFDs queues a frame with descriptors, which must stay open until it has left.
func (l *link) sendFDs(kind byte, payload []byte, fds []int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(kind, len(payload)); err != nil {
		return err
	}
	p := parcel{frames: fdpass.AppendFrame(nil, kind, len(fds), payload), fds: fds}
	l.queue = append(l.queue, p)
	l.queued += len(p.frames)
	l.work.Signal()
	return nil
}

// room says whether a frame with n bytes may be queued. The limit is for what users send; the rest is little, and must
// arrive. With l.mu held.
func (l *link) room(kind byte, n int) error {
	switch {
	case l.closed || l.closing:
		return ErrDisconnected
	case n > maxPayload:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, n, maxPayload)
	case (kind == kindMessage || kind == kindReport) && l.queued > 0 && l.queued+n > l.limit:
		l.refused++
		return ErrOverloaded
	default:
		return nil
	}
}

// write sends what is queued until the link is closed.
func (l *link) write() {
	defer close(l.written)
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closing && !l.closed {
			l.work.Wait()
		}
		if l.closed || len(l.queue) == 0 {
			l.mu.Unlock()
			_ = l.conn.CloseWrite() // it may be closed altogether
			return
		}
		p := l.queue[0]
		l.queue[0] = parcel{}
		l.queue = l.queue[1:]
		l.mu.Unlock()

		var err error
		if p.fds != nil {
			err = l.conn.WriteFDs(p.frames, p.fds)
		} else {
			err = l.conn.Write(p.frames)
		}

		l.mu.Lock()
		l.queued -= len(p.frames)
		if p.fds == nil && cap(p.frames) <= 2*maxWrite {
			l.spare = p.frames
		}
		if err != nil { // the reader finds the end, too, and tells whoever must know
			l.closed = true
			l.queue = nil
		}
		l.mu.Unlock()
	}
}

// read calls handle with each frame until the other side is gone. It returns nil if that side had finished what it
// sent.
func (l *link) read(handle func(fdpass.Frame)) error {
	for {
		f, err := l.conn.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		handle(f)
	}
}

// finish sends what is queued, and then tells the other side that nothing follows.
func (l *link) finish() {
	l.mu.Lock()
	l.closing = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.written
}

// close ends the link at once.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.queue = nil
	l.work.Signal()
	l.mu.Unlock()
	_ = l.conn.Close()
	<-l.written
}

// overloads is the number of frames that were refused.
func (l *link) overloads() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}
