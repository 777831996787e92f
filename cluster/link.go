package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// The kinds of frames. A primary and its workers may be of different releases: numbers never change, new kinds are
// added at the end, and unknown kinds are ignored. "+" means that descriptors are sent with the frame.
const (
	kindMessage   byte = iota + 1 // both ways: opaque
	kindConns                     // to a worker: number of the batch (4), endpoints unless all are 0 (2 each) + sockets
	kindDrain                     // to a worker: milliseconds until it must have exited (8)
	kindReady                     // to the primary
	kindAck                       // to the primary: number of the batch (4), any, how many sockets were taken (2)
	kindReport                    // to the primary: load (8), opaque
	kindListener                  // to a worker: how many come first (2), endpoint (2), tag + a listening socket
	kindOnline                    // to the primary, before anything else
	kindListening                 // to the primary: network, 0, address
	kindHandle                    // both ways: type of the handle (1), opaque + the handle
	kindListen                    // to the primary: number of the request (4), index (4), network, 0, address
	kindSocket                    // to a worker: number of the request (4), errno (4), error; or + the socket
	kindUnlisten                  // to the primary: key of a shared socket
	kindLeave                     // to the primary: the worker disconnects voluntarily
	kindGive                      // to a worker: a Move + its end of a socketpair
	kindTake                      // to a worker: a Move + its end of a socketpair
	kindSettle                    // to a worker: a Move
	kindMoving                    // to the primary: number of the move (8), moved (8), left (8)
	kindGiven                     // to the primary: number of the move (8), a MoveResult in JSON
	kindTaken                     // to the primary: number of the move (8), a MoveResult in JSON
	kindStuck                     // to the primary: number of the move (8)
	kindStay                      // to a worker: it continues after a move that was to be its end
	kindTag                       // to a worker: endpoint (2), its tag
	kindRetire                    // to a worker: endpoint (2) whose queue it empties and whose copy it closes
)

// maxHandles is the number of handles that may wait in the queue of a link. Each is an open descriptor.
const maxHandles = 64

// maxWrite is the number of bytes of small frames that are written in one system call.
const maxWrite = 256 << 10

// link is one side of a socketpair. It has a queue, a goroutine that writes what is queued, and a goroutine of its user
// that reads.
type link struct {
	conn  *fdpass.Conn
	limit int

	mu      sync.Mutex
	work    sync.Cond
	queue   []parcel
	queued  int           // bytes in queue and in the parcel that is being written
	spare   []byte        // buffer for the next parcel
	refused uint64        // frames that were refused because the queue was full
	handles int           // in queue
	lost    uint64        // handles that were queued and could not be sent
	drained chan struct{} // closed when the queue has room again; nil if nothing waits for that
	held    bool          // frames of users are refused
	closing bool          // the link closes when the queue is empty
	closed  bool
	written chan struct{} // closed when the writer has ended

	frames  atomic.Uint64 // that were read
	pausing atomic.Bool
	paused  chan struct{} // receives a value when the reader has paused
	resumed chan struct{} // receives a value when the reader may continue
	ended   chan struct{} // closed when the reader has ended
}

// parcel is what one system call writes: frames, or one frame with descriptors.
type parcel struct {
	frames []byte
	fds    []int
	kind   byte // of the frame with descriptors
	size   int  // of its payload
	own    bool // close the descriptors when they are sent
}

// newLink returns a link over conn and starts its writer. limit is the size of the queue in bytes.
func newLink(conn *fdpass.Conn, limit int) *link {
	l := &link{
		conn: conn, limit: limit, written: make(chan struct{}),
		paused: make(chan struct{}, 1), resumed: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	l.work.L = &l.mu
	go l.write() // ends with close, or when the other side has closed the socket
	return l
}

// send queues a frame. The payload may be reused when send returns. An empty queue accepts a frame of any length.
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

// sendFDs queues a frame with descriptors, which must stay open until the frame is written.
func (l *link) sendFDs(kind byte, payload []byte, fds []int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(kind, len(payload)); err != nil {
		return err
	}
	l.put(parcel{kind: kind, fds: fds}, payload)
	return nil
}

// sendHandle queues a frame with a descriptor. It takes over the descriptor, even if it fails.
func (l *link) sendHandle(kind byte, payload []byte, fd int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(kind, len(payload)); err != nil {
		closeFD(fd)
		return err
	}
	if kind == kindHandle {
		l.handles++
	}
	l.put(parcel{kind: kind, fds: []int{fd}, own: true}, payload)
	return nil
}

// put queues a frame with descriptors. l.mu must be held.
func (l *link) put(p parcel, payload []byte) {
	p.frames = fdpass.AppendFrame(nil, p.kind, len(p.fds), payload)
	p.size = len(payload)
	l.queue = append(l.queue, p)
	l.queued += len(p.frames)
	l.work.Signal()
}

// room returns an error if a frame with n bytes may not be queued. The limit applies to what users send; the other
// frames are few and small, and must arrive. l.mu must be held.
func (l *link) room(kind byte, n int) error {
	switch {
	case l.closed || l.closing:
		return ErrDisconnected
	case n > maxFrame:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, n, maxFrame)
	case isUsers(kind) && (l.held || l.queued > 0 && l.queued+n > l.limit), kind == kindHandle && l.handles >= maxHandles:
		l.refused++
		return ErrOverloaded
	default:
		return nil
	}
}

// isUsers reports whether frames of a kind carry data of users.
func isUsers(kind byte) bool { return kind == kindMessage || kind == kindReport || kind == kindHandle }

// write writes what is queued until the link is closed.
func (l *link) write() {
	defer close(l.written)
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closing && !l.closed {
			l.work.Wait()
		}
		if l.closed || len(l.queue) == 0 {
			l.mu.Unlock()
			_ = l.conn.CloseWrite() // fails if the socket is closed
			return
		}
		p := l.queue[0]
		l.queue[0] = parcel{}
		l.queue = l.queue[1:]
		l.mu.Unlock()

		passed, err := l.deliver(p)

		l.mu.Lock()
		l.queued -= len(p.frames)
		if p.kind == kindHandle {
			l.handles--
			if !passed {
				l.lost++
			}
		}
		if p.fds == nil && cap(p.frames) <= 2*maxWrite {
			l.spare = p.frames
		}
		if err != nil { // the reader gets an error, too, and its user handles that
			l.closed = true
			l.clear()
		}
		l.wake()
		l.mu.Unlock()
	}
}

// deliver writes a parcel and reports whether its descriptors were sent. If too many descriptors of this user are in
// transit in the kernel, it sends the frame without them: the receiver handles missing descriptors.
func (l *link) deliver(p parcel) (passed bool, err error) {
	if p.fds == nil {
		return false, l.conn.Write(p.frames)
	}
	err = l.conn.WriteFDs(p.frames, p.fds)
	passed = err == nil
	if errors.Is(err, syscall.ETOOMANYREFS) {
		err = l.conn.Write(fdpass.AppendFrame(nil, p.kind, 0, p.frames[len(p.frames)-p.size:]))
	}
	if p.own {
		closeFDs(p.fds)
	}
	return passed, err
}

// clear drops what is queued. l.mu must be held.
func (l *link) clear() {
	for _, p := range l.queue {
		l.queued -= len(p.frames)
		if p.kind == kindHandle {
			l.handles--
			l.lost++
		}
		if p.own {
			closeFDs(p.fds)
		}
	}
	l.queue = nil
}

// wake closes the channel of below when the queue has room. l.mu must be held.
func (l *link) wake() {
	if l.drained != nil && (l.closed || l.low()) {
		close(l.drained)
		l.drained = nil
	}
}

// low reports whether the queue is below half of its limits. l.mu must be held.
func (l *link) low() bool { return !l.held && l.queued <= l.limit/2 && l.handles <= maxHandles/2 }

// below returns a channel that is closed when the queue is below half of its limits or the link is closed.
func (l *link) below() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.low() {
		c := make(chan struct{})
		close(c)
		return c
	}
	if l.drained == nil {
		l.drained = make(chan struct{})
	}
	return l.drained
}

// wait blocks until the channel of below is closed.
func (l *link) wait(ctx context.Context) error {
	select {
	case <-l.below():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !l.connected() {
		return ErrDisconnected
	}
	return nil
}

// connected reports whether frames may be queued.
func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && !l.closing
}

// unsent returns the number of handles that were queued and not sent.
func (l *link) unsent() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// read calls handle with each frame until the other side closes the socket. It returns nil if the last frame was
// complete.
func (l *link) read(handle func(fdpass.Frame)) error {
	defer close(l.ended)
	for {
		f, err := l.conn.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && l.pausing.Load() {
			l.paused <- struct{}{}
			<-l.resumed
			continue
		}
		if err != nil {
			return err
		}
		handle(f)
		l.frames.Add(1)
	}
}

// pause stops the reader between two frames and blocks until it has stopped. It reports false if the reader has ended.
func (l *link) pause() bool {
	l.pausing.Store(true)
	if !l.connected() || l.conn.Pause() != nil {
		l.pausing.Store(false)
		return false
	}
	select {
	case <-l.paused:
		return true
	case <-l.ended:
		return false
	}
}

// resume continues a reader that pause has stopped.
func (l *link) resume() {
	l.pausing.Store(false)
	_ = l.conn.Resume()
	l.resumed <- struct{}{}
}

// idle reports whether everything that was queued is written.
func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued == 0
}

// flush blocks until everything that is queued is written.
func (l *link) flush(ctx context.Context) error {
	if err := until(ctx, func() bool { return l.idle() || !l.connected() }); err != nil {
		return err
	}
	if !l.connected() {
		return ErrDisconnected
	}
	return nil
}

// hold refuses what users send, as if the queue were full, until release.
func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// release ends hold.
func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	l.wake()
}

// finish writes what is queued and then shuts down the sending direction.
func (l *link) finish() {
	l.mu.Lock()
	l.closing = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.written
}

// close closes the link at once.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.clear()
	l.wake()
	l.work.Signal()
	l.mu.Unlock()
	_ = l.conn.Close()
	<-l.written
}

// overloads returns the number of frames that were refused because the queue was full.
func (l *link) overloads() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}
