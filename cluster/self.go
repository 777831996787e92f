package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// IsWorker says whether this process was started by a primary. It is true until Join.
func IsWorker() bool { return os.Getenv(roleEnv) != "" }

// joinedEnv has the number of the process that has called Join.
const joinedEnv = "EXPEDITE_JOINED"

// Joined says whether this process is, or was, a worker: it has called Join.
func Joined() bool { return os.Getenv(joinedEnv) == strconv.Itoa(os.Getpid()) }

// Hooks are what a worker does when its primary says so.
type Hooks struct {
	// Conns takes accepted sockets, non-blocking and close-on-exec. The first taken of them are the worker's from here
	// on; the others are closed here and passed to another worker. fds is valid until it returns.
	Conns func(fds []int) (taken int)
	// Message takes a message, which is valid until it returns.
	Message func(m []byte)
	// Handle takes what Worker.SendHandle sent: a message, valid until it returns, and a handle, which is the
	// worker's to close. The handle is nil if this process could not take it, for want of descriptors. Nil closes
	// what comes. Self.HandlesLost counts both.
	Handle func(m []byte, h Handle)
	// Drain asks the worker to finish, and to have ended at the deadline, when it will be killed. It must not block.
	Drain func(deadline time.Time)
	// Give moves connections away over f, a Unix stream socket that is the worker's from here on, and ends with
	// Self.Given. Nil moves none: they are drained.
	Give func(m Move, f *os.File)
	// Take lets connections come over f, and ends with Self.Taken.
	Take func(m Move, f *os.File)
	// Settle says that no message for connections that have left by a move will come any more: the worker that took is
	// told so. It comes in order with messages.
	Settle func(m Move)
	// Stay says that the worker goes on after all: a whole move has failed, and it accepts again.
	Stay func()
	// Lost says that the primary is gone. It must not block.
	Lost func()
}

// Self is this process as a worker.
type Self struct {
	role     role
	link     *link
	listener net.Listener
	done     chan struct{}
	serving  atomic.Bool
	asked    requests
	lost     atomic.Uint64 // handles

	mu      sync.Mutex // held while sockets are taken and acknowledged
	leaving bool
}

// Join makes this process the worker that its primary has started it to be. Call it once; Serve follows. Afterwards the
// process does not end when it writes to a terminal or a log of a primary that is gone (SIGPIPE).
func Join() (*Self, error) {
	if !IsWorker() {
		return nil, ErrNotWorker
	}
	r, err := parseRole(os.Getenv(roleEnv))
	if err != nil {
		return nil, err
	}
	// What this process starts is no worker.
	if err := errors.Join(os.Unsetenv(roleEnv), os.Setenv(joinedEnv, strconv.Itoa(os.Getpid()))); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := leaveProgram(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	signal.Ignore(syscall.SIGPIPE)
	allowSignals() // a primary that has replaced itself had to keep them waiting, and its children with it
	conn, err := fdpass.NewConn(os.NewFile(linkFD, "primary"), maxFrame)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	s := &Self{role: r, done: make(chan struct{})}
	if r.listener {
		if s.listener, err = receiveListener(conn); err != nil {
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

func receiveListener(conn *fdpass.Conn) (net.Listener, error) {
	f, err := conn.Read()
	if err != nil {
		return nil, err
	}
	if f.Kind != kindListener || len(f.FDs) != 1 {
		return nil, errors.New("it did not come")
	}
	file := os.NewFile(uintptr(f.FDs[0]), "listener")
	defer file.Close()
	return net.FileListener(file)
}

// Slot is the worker's place, 1 to Slots.
func (s *Self) Slot() int { return s.role.slot }

// Slots is the number of workers.
func (s *Self) Slots() int { return s.role.slots }

// Generation is the number of workers that the slot has had, this one included.
func (s *Self) Generation() int { return s.role.generation }

// ID is unique among all workers of the primary.
func (s *Self) ID() uint64 { return s.role.id }

// Listener is the slot's own listening socket, with the policy None; nil else. Closing it here does not close it in the
// primary.
func (s *Self) Listener() net.Listener { return s.listener }

// Serve starts to do what the primary says. The hooks are called by one goroutine, in the order of what was said.
func (s *Self) Serve(h Hooks) {
	s.serving.Store(true)
	go func() { // ends with Close, or with the primary
		defer close(s.done)
		// Whatever ends it, there is no primary any more.
		_ = s.link.read(func(f fdpass.Frame) { s.handle(&h, f) })
		s.mu.Lock()
		lost := !s.leaving
		s.mu.Unlock()
		if lost && h.Lost != nil {
			h.Lost()
		}
	}()
}

func (s *Self) handle(h *Hooks, f fdpass.Frame) {
	switch f.Kind {
	case kindConns, kindHandle, kindSocket, kindGive, kindTake:
	default:
		closeFDs(f.FDs) // nobody asked for them
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

// take gives accepted sockets to the worker's own code, and tells the primary how many were taken. Those that the
// kernel had to drop are the last of the batch, and count as not taken.
func (s *Self) take(h *Hooks, f fdpass.Frame) {
	s.mu.Lock() // Close must not come between the taking and the word of it: another worker would get them, too
	defer s.mu.Unlock()
	taken := 0
	if h.Conns != nil && !s.leaving && len(f.FDs) > 0 && areSockets(f.FDs) {
		taken = min(max(h.Conns(f.FDs), 0), len(f.FDs))
	}
	closeFDs(f.FDs[taken:])
	ack := append([]byte(nil), f.Payload...)
	_ = s.link.send(kindAck, binary.LittleEndian.AppendUint16(ack, uint16(taken)))
}

// Ready tells the primary that this worker serves: connections may come.
func (s *Self) Ready() error { return s.link.send(kindReady, nil) }

// Send sends a message to the primary. It never blocks: ErrOverloaded says that the queue is full. m may be used again
// when it returns.
func (s *Self) Send(m []byte) error { return s.link.send(kindMessage, m) }

// Flush waits until the kernel has all that was sent: from then on it reaches the primary even if this process ends.
// Without it, messages that were sent right before os.Exit are lost; Close flushes, too.
func (s *Self) Flush(ctx context.Context) error { return s.link.flush(ctx) }

// Report tells the primary the number of connections, by which it schedules, and whatever else it wants to know. Once a
// second is often enough.
func (s *Self) Report(load int, report []byte) error {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(report)), uint64(load))
	return s.link.send(kindReport, append(b, report...))
}

// Overloads is the number of messages and reports that were not sent because the queue was full.
func (s *Self) Overloads() uint64 { return s.link.overloads() }

// Close sends what is queued, and leaves the primary: no sockets come any more, those of Listen and ListenPacket are
// closed here, and the process should end soon, or the primary ends it. The worker is replaced, unless the primary had
// asked for its end. It must not be called by Hooks.Conns.
func (s *Self) Close() error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.link.finish()
	s.link.close()
	s.asked.close()
	if s.listener != nil {
		return s.listener.Close()
	}
	return nil
}

// Done is closed when the primary is gone, or after Close, once Serve was called.
func (s *Self) Done() <-chan struct{} { return s.done }
