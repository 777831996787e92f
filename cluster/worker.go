package cluster

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// Worker is a worker process as its primary sees it.
type Worker struct {
	slot, generation int
	id               uint64
	proc             *process
	link             *link
	stderr           *tail
	began            time.Time
	wanted           bool   // the primary has asked for its end. On the run loop
	left             bool   // it has gone by itself, and said so. On the run loop
	dismissed        bool   // it will not be replaced. On the run loop
	counted          bool   // its connections are counted as lost. On the run loop
	why              string // the primary has killed it, for this reason. On the run loop
	primary          *Primary
	at               *slot
	program          *program      // that it runs; nil if it was inherited
	ready            chan struct{} // closed when it serves
	done             chan struct{} // closed at the end of the process
	exit             error         // how it ended; after done
	timer            *time.Timer   // of the limit of its start, or of its end. On the run loop

	state  atomic.Uint32
	load   atomic.Int64 // connections, as last reported
	passed atomic.Int64 // sockets passed since that report
	total  atomic.Uint64
	// held is the number of connections that it had when it left. Written once, by the dispatcher.
	held int64
	// reports counts what it has reported.
	reports atomic.Uint64
}

// Slot is the worker's place, 1 to N. A worker that replaces another has the same.
func (w *Worker) Slot() int { return w.slot }

// Generation is the number of workers that the slot has had since it was made, this one included.
func (w *Worker) Generation() int { return w.generation }

// Crashes is the number of workers of the slot that have ended unasked.
func (w *Worker) Crashes() uint64 { return w.at.crashes.Load() }

// ID is unique among all workers of the primary, and grows.
func (w *Worker) ID() uint64 { return w.id }

// PID is the number of its process.
func (w *Worker) PID() int { return w.proc.os.Pid }

// State is where the worker stands.
func (w *Worker) State() State { return State(w.state.Load()) }

// Load is the number of connections that the worker reported last, and those passed to it since.
func (w *Worker) Load() int { return int(w.load.Load() + w.passed.Load()) }

// Passed is the number of sockets that the worker has taken.
func (w *Worker) Passed() uint64 { return w.total.Load() }

// Overloads is the number of messages that were not sent because the worker's queue was full.
func (w *Worker) Overloads() uint64 { return w.link.overloads() }

// Send sends a message. It never blocks: ErrOverloaded says that the worker's queue is full, ErrDisconnected that it is
// gone. m may be used again when it returns.
func (w *Worker) Send(m []byte) error { return w.link.send(kindMessage, m) }

// Flush waits until the kernel has all that was sent: from then on it reaches the worker even if this process ends.
func (w *Worker) Flush(ctx context.Context) error { return w.link.flush(ctx) }

// Kill sends a signal to the process. A worker that dies of it is replaced: see Disconnect. It fails with
// os.ErrProcessDone when there is no process any more.
func (w *Worker) Kill(sig syscall.Signal) error { return w.proc.os.Signal(sig) }
