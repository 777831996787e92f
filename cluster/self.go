package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// IsWorker reports whether this process was started by a primary. It is false after Join.
func IsWorker() bool { return os.Getenv(roleEnv) != "" }

// joinedEnv holds the id of the process that has called Join.
const joinedEnv = "EXPEDITE_JOINED"

// Joined reports whether this process has called Join: it is, or was, a worker.
func Joined() bool { return os.Getenv(joinedEnv) == strconv.Itoa(os.Getpid()) }

// Hooks are the functions of a worker that are called on behalf of its primary.
type Hooks struct {
	// Conns receives accepted sockets, which are non-blocking and close-on-exec. The worker owns the first taken of
	// them; the others are closed here and passed to another worker. fds is valid until Conns returns.
	Conns func(fds []int) (taken int)
	// Tagged replaces Conns, if it is not nil, for a worker that has to know where sockets come from. It also receives the
	// Tag of the Listener of each socket.
	Tagged func(fds []int, tags []string) (taken int)
	// Listen receives a further listening socket, with the policy None, from which the worker has to accept.
	Listen func(ln *TaggedListener)
	// Retire asks the worker to accept what waits in the queue of a socket of Self.Listeners or Listen, and to close it.
	Retire func(ln *TaggedListener)
	// Message receives a message, which is valid until it returns.
	Message func(m []byte)
	// Handle receives what Worker.SendHandle sent: a message, valid until it returns, and a handle, which the worker
	// must close. The handle is nil if this process had no descriptor free for it. If Handle is nil, handles are
	// closed. Self.HandlesLost counts both cases.
	Handle func(m []byte, h Handle)
	// Drain asks the worker to finish. It is killed if it has not exited at the deadline. Drain must not block.
	Drain func(deadline time.Time)
	// Give moves connections away over f, a Unix stream socket that the worker owns, and ends by calling Self.Given. If
	// it is nil, connections do not move: they are drained.
	Give func(m Move, f *os.File)
	// Take accepts connections over f and ends by calling Self.Taken.
	Take func(m Move, f *os.File)
	// Settle reports that no more messages will come for connections that have left in a move, which the worker must
	// tell the worker that took them. It is called in order with Message.
	Settle func(m Move)
	// Stay reports that the worker continues after all, because the move of all its connections has failed. It may
	// accept again.
	Stay func()
	// Lost reports that the primary has ended. It must not block.
	Lost func()
}

// Self is this process as a worker.
type Self struct {
	role    role
	link    *link
	sources sources
	done    chan struct{}
	serving atomic.Bool
	asked   requests
	lost    atomic.Uint64 // handles

	mu      sync.Mutex // held while sockets are taken and acknowledged
	leaving bool
}

// Join makes this process the worker that its primary has started it to be. Call it once, and Serve after it. From then
// on the process ignores SIGPIPE: it does not end when it writes to a terminal or a log of a primary that has ended.
func Join() (*Self, error) {
	if !IsWorker() {
		return nil, ErrNotWorker
	}
	r, err := parseRole(os.Getenv(roleEnv))
	if err != nil {
		return nil, err
	}
	// Processes that this one starts must not take themselves for workers.
	if err := errors.Join(os.Unsetenv(roleEnv), os.Setenv(joinedEnv, strconv.Itoa(os.Getpid()))); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := leaveProgram(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	signal.Ignore(syscall.SIGPIPE)
	allowSignals() // a primary that has replaced its program had blocked them, and its children inherit that
	conn, err := fdpass.NewConn(os.NewFile(linkFD, "primary"), maxFrame)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	s := &Self{role: r, done: make(chan struct{})}
	if r.listener {
		if err := s.sources.receive(conn); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("cluster: listening socket: %w", err)
		}
	}
	s.link = newLink(conn, defaultQueueLimit)
	if err := s.link.send(kindOnline, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Slot returns the worker's place, 1 to Slots.
func (s *Self) Slot() int { return s.role.slot }

// Slots returns the number of workers.
func (s *Self) Slots() int { return s.role.slots }

// Generation returns the number of workers that the slot has had, including this one.
func (s *Self) Generation() int { return s.role.generation }

// ID returns a number that is unique among all workers of the primary.
func (s *Self) ID() uint64 { return s.role.id }

// Serve starts to receive from the primary. One goroutine calls the hooks, in the order in which the primary sent.
func (s *Self) Serve(h Hooks) {
	s.serving.Store(true)
	go func() { // ends with Close, or with the primary
		defer close(s.done)
		// Any error means that there is no primary any more.
		_ = s.link.read(func(f fdpass.Frame) { s.receive(&h, f) })
		s.mu.Lock()
		lost := !s.leaving
		s.mu.Unlock()
		if lost && h.Lost != nil {
			h.Lost()
		}
	}()
}

// receive handles one frame of the primary.
func (s *Self) receive(h *Hooks, f fdpass.Frame) {
	switch f.Kind {
	case kindConns, kindHandle, kindSocket, kindGive, kindTake, kindListener:
	default:
		closeFDs(f.FDs) // no other kind has descriptors
	}
	switch f.Kind {
	case kindMessage:
		if h.Message != nil {
			h.Message(f.Payload)
		}
	case kindConns:
		s.take(h, f)
	case kindHandle:
		s.receiveHandle(h, f)
	case kindSocket:
		s.asked.answer(f)
	case kindGive, kindTake:
		s.order(h, f)
	case kindSettle:
		if m, ok := parseMove(f.Payload); ok && h.Settle != nil {
			h.Settle(m)
		}
	case kindTag:
		s.sources.name(f.Payload)
	case kindListener:
		s.listen(h, f)
	case kindRetire:
		s.retire(h, f.Payload)
	case kindStay:
		if h.Stay != nil {
			h.Stay()
		}
	case kindDrain:
		if h.Drain != nil && len(f.Payload) == 8 {
			left := time.Duration(binary.LittleEndian.Uint64(f.Payload)) * time.Millisecond
			h.Drain(time.Now().Add(left))
		}
	}
}

// take passes accepted sockets to Hooks.Conns and acknowledges those that were taken. Sockets that the kernel had to
// drop are the last ones of the batch, and count as not taken.
func (s *Self) take(h *Hooks, f fdpass.Frame) {
	s.mu.Lock() // if Close came before the acknowledgement, another worker would get the same sockets
	defer s.mu.Unlock()
	taken := 0
	if len(f.Payload) < 4 {
		closeFDs(f.FDs)
		return
	}
	if (h.Conns != nil || h.Tagged != nil) && !s.leaving && len(f.FDs) > 0 && areSockets(f.FDs) {
		if h.Tagged != nil {
			taken = h.Tagged(f.FDs, s.sources.tags(f))
		} else {
			taken = h.Conns(f.FDs)
		}
		taken = min(max(taken, 0), len(f.FDs))
	}
	closeFDs(f.FDs[taken:])
	ack := append([]byte(nil), f.Payload[:4]...)
	_ = s.link.send(kindAck, binary.LittleEndian.AppendUint16(ack, uint16(taken)))
}

// receiveHandle passes a handle from the primary to Hooks.Handle.
func (s *Self) receiveHandle(hooks *Hooks, f fdpass.Frame) {
	m, h := parseHandle(f)
	if h == nil || hooks.Handle == nil {
		s.lost.Add(1)
	}
	switch {
	case hooks.Handle != nil:
		hooks.Handle(m, h)
	case h != nil:
		_ = h.Close()
	}
}

// HandlesLost returns the number of handles that did not arrive here, or that were closed because Hooks.Handle is nil.
func (s *Self) HandlesLost() uint64 { return s.lost.Load() }

// Ready tells the primary that this worker is ready to receive connections.
func (s *Self) Ready() error { return s.link.send(kindReady, nil) }

// Send sends a message to the primary. It never blocks: it returns ErrOverloaded if the queue is full. m may be reused
// when Send returns.
func (s *Self) Send(m []byte) error { return s.link.send(kindMessage, m) }

// SendHandle sends a message with a handle to the primary, as Worker.SendHandle does to a worker.
func (s *Self) SendHandle(m []byte, h Handle, opts ...HandleOption) error {
	return s.link.sendWithHandle(m, h, opts)
}

// Drained returns a channel that is closed when the queue to the primary is below half of its limit. It is also closed
// when the primary has ended.
func (s *Self) Drained() <-chan struct{} { return s.link.below() }

// Wait blocks until Drained is closed. It returns ErrDisconnected if the primary has ended.
func (s *Self) Wait(ctx context.Context) error { return s.link.wait(ctx) }

// Flush blocks until the kernel has everything that was sent. The primary receives it even if this process ends.
// Without Flush, messages that were sent just before os.Exit are lost. Close flushes, too.
func (s *Self) Flush(ctx context.Context) error { return s.link.flush(ctx) }

// Report sends the primary the number of connections, which it uses for scheduling, and any other data. Once a second
// is often enough.
func (s *Self) Report(load int, report []byte) error {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(report)), uint64(load))
	return s.link.send(kindReport, append(b, report...))
}

// Overloads returns the number of messages and reports that were not sent because the queue was full.
func (s *Self) Overloads() uint64 { return s.link.overloads() }

// IsConnected reports whether messages can reach the primary.
func (s *Self) IsConnected() bool {
	select {
	case <-s.done:
		return false
	default:
		return s.link.connected()
	}
}

// Close sends what is queued and disconnects from the primary: no more sockets come, and those of Listen and
// ListenPacket are closed. The process should exit soon, or the primary kills it. The worker is replaced unless the
// primary had asked it to exit. Hooks.Conns must not call Close.
func (s *Self) Close() error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.link.finish()
	s.link.close()
	s.asked.close()
	return s.sources.close()
}

// Disconnect is Close for a worker that exits voluntarily: Worker.ExitedAfterDisconnect tells that from a failure. The
// worker is replaced all the same. Only the primary can end a worker for good, with Worker.Disconnect.
func (s *Self) Disconnect() error {
	_ = s.link.send(kindLeave, nil) // fails if the primary has ended
	return s.Close()
}

// Done returns a channel that is closed when the primary has ended, or after Close. It needs Serve.
func (s *Self) Done() <-chan struct{} { return s.done }
