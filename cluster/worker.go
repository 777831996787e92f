package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
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
	sup              *supervisor
	at               *slot
	program          *program      // nil if the worker was inherited
	ready            chan struct{} // closed when it is ready
	done             chan struct{} // closed when the process has ended

	// On the supervisor's loop only.
	wanted    bool        // the primary has asked it to exit
	left      bool        // it has disconnected voluntarily
	dismissed bool        // it will not be replaced
	counted   bool        // its connections are counted as lost
	why       string      // the reason for which the primary has killed it
	exit      error       // how it ended; any goroutine after done
	timer     *time.Timer // of the limit for its start, or for its exit

	state   atomic.Uint32
	load    atomic.Int64 // connections, as last reported
	passed  atomic.Int64 // sockets passed since that report
	total   atomic.Uint64
	held    int64         // connections when it disconnected; written once, by the dispatcher
	reports atomic.Uint64 // number of reports received
}

// Slot returns the worker's place, 1 to N. A worker that replaces another has the same slot.
func (w *Worker) Slot() int { return w.slot }

// Generation returns the number of workers that the slot has had since it was made, including this one.
func (w *Worker) Generation() int { return w.generation }

// Crashes returns the number of workers of the slot that have ended without being asked to.
func (w *Worker) Crashes() uint64 { return w.at.crashes.Load() }

// ID returns a number that is unique among all workers of the primary, and larger than those of earlier workers.
func (w *Worker) ID() uint64 { return w.id }

// PID returns the process id.
func (w *Worker) PID() int { return w.proc.os.Pid }

// State returns the state of the worker.
func (w *Worker) State() State { return State(w.state.Load()) }

// Load returns the number of connections that the worker reported last, plus those passed to it since.
func (w *Worker) Load() int { return int(w.load.Load() + w.passed.Load()) }

// Passed returns the number of sockets that the worker has taken.
func (w *Worker) Passed() uint64 { return w.total.Load() }

// Overloads returns the number of messages that were not sent because the worker's queue was full.
func (w *Worker) Overloads() uint64 { return w.link.overloads() }

// Send sends a message. It never blocks: it returns ErrOverloaded if the worker's queue is full, and ErrDisconnected if
// the worker has disconnected. m may be reused when Send returns.
func (w *Worker) Send(m []byte) error { return w.link.send(kindMessage, m) }

// Flush blocks until the kernel has everything that was sent. The worker receives it even if this process ends.
func (w *Worker) Flush(ctx context.Context) error { return w.link.flush(ctx) }

// Drained returns a channel that is closed when the worker's queue is below half of its limit, which is the time to
// send again after ErrOverloaded. It is also closed when the worker has disconnected.
func (w *Worker) Drained() <-chan struct{} { return w.link.below() }

// Wait blocks until Drained is closed. It returns ErrDisconnected if the worker has disconnected.
func (w *Worker) Wait(ctx context.Context) error { return w.link.wait(ctx) }

// Kill sends a signal to the process. A worker that dies from it is replaced: use Disconnect to end one for good. Kill
// returns os.ErrProcessDone if the process has ended.
func (w *Worker) Kill(sig syscall.Signal) error { return w.proc.os.Signal(sig) }

// Disconnect asks the worker to finish within the time left in ctx, and blocks until it has ended. It gets no new
// connections; messages reach it until it disconnects. It is not replaced, and its slot is removed with it. If the
// worker has not ended when ctx ends, Disconnect kills it and returns an error.
func (w *Worker) Disconnect(ctx context.Context) error {
	left := timeLeft(ctx)
	w.sup.loop.post(func() { w.sup.dismiss(w, left) })
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	if w.IsDead() {
		return nil
	}
	w.proc.kill()
	<-w.done
	return fmt.Errorf("cluster: worker %d had to be killed: %w", w.slot, context.Cause(ctx))
}

// Done returns a channel that is closed when the process has ended, after its EventExit.
func (w *Worker) Done() <-chan struct{} { return w.done }

// IsConnected reports whether messages can reach the worker. It is false from EventDisconnect on.
func (w *Worker) IsConnected() bool { return w.link.connected() }

// IsDead reports whether the process has ended.
func (w *Worker) IsDead() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// ExitedAfterDisconnect reports whether the process has exited, and whether it did so voluntarily: because the primary
// had asked it to, or after Self.Disconnect.
func (w *Worker) ExitedAfterDisconnect() (voluntary, exited bool) {
	if !w.IsDead() {
		return false, false
	}
	return w.wanted || w.left, true // written before done was closed
}

// ask asks the worker to finish. On the loop.
func (w *Worker) ask(left time.Duration) {
	w.wanted = true
	w.state.Store(uint32(StateDraining))
	b := binary.LittleEndian.AppendUint64(nil, uint64(left.Milliseconds()))
	_ = w.link.send(kindDrain, b) // fails if the worker has disconnected
}

// awaitIdle blocks until no frame is waiting to be written to the worker.
func (w *Worker) awaitIdle(ctx context.Context) error {
	if until(ctx, func() bool { return w.link.idle() || !w.link.connected() }) != nil {
		return fmt.Errorf("worker %d does not read what was sent to it", w.slot)
	}
	return nil
}

// startError returns the error for a worker that has ended soon after its start.
func (w *Worker) startError() *StartError {
	return &StartError{Slot: w.slot, Err: w.exit, Reason: w.why, Stderr: w.stderr.String()}
}

// timeLeft returns the time until the deadline of ctx.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), 0)
	}
	return time.Hour
}
