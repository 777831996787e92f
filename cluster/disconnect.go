package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// Disconnect asks the worker to finish within the time that ctx has, and waits for its end. It gets no new connections;
// messages reach it until it leaves. It is not replaced: its slot is gone with it. A worker that has not ended when ctx
// ends is killed, and the error says so.
func (w *Worker) Disconnect(ctx context.Context) error {
	left := timeLeft(ctx)
	w.primary.do(func() { w.primary.dismiss(w, left) })
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-w.done:
		return nil
	default:
	}
	w.proc.kill() // it may have ended by now
	<-w.done
	return fmt.Errorf("cluster: worker %d had to be killed: %w", w.slot, context.Cause(ctx))
}

// timeLeft is the time that ctx has.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), 0)
	}
	return time.Hour
}

// dismiss asks a worker to finish, for good. It belongs to the run loop.
func (p *Primary) dismiss(w *Worker, left time.Duration) {
	s := w.at
	if s.worker != w || p.stopping {
		return
	}
	w.dismissed = true
	w.timer.Stop()
	p.disp.pause(w)
	p.vacate(s)
	w.ask(left)
}

// ask asks a worker to finish. It belongs to the run loop.
func (w *Worker) ask(left time.Duration) {
	w.wanted = true
	w.state.Store(uint32(StateDraining))
	b := binary.LittleEndian.AppendUint64(nil, uint64(left.Milliseconds()))
	_ = w.link.send(kindDrain, b) // one that is gone has finished
}

// Disconnect asks all workers to finish within the time that ctx has, and waits for their end, as Drain does. The error
// says that some had to be killed.
func (p *Primary) Disconnect(ctx context.Context) error {
	if killed := p.Drain(ctx); killed > 0 {
		return fmt.Errorf("cluster: %d workers had to be killed: %w", killed, context.Cause(ctx))
	}
	return nil
}

// Done is closed when the process has ended, after its EventExit.
func (w *Worker) Done() <-chan struct{} { return w.done }

// IsConnected says whether messages can reach the worker. It is false from EventDisconnect on.
func (w *Worker) IsConnected() bool { return w.link.connected() }

// IsDead says whether the process has ended.
func (w *Worker) IsDead() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// ExitedAfterDisconnect says whether the process has ended, and whether that was voluntary: because the primary had
// asked for it, or after Self.Disconnect.
func (w *Worker) ExitedAfterDisconnect() (voluntary, exited bool) {
	if !w.IsDead() {
		return false, false
	}
	return w.wanted || w.left, true // written before done was closed
}

// Disconnect is Close for a worker that leaves of its own will: Worker.ExitedAfterDisconnect tells it from one that
// failed. It is replaced all the same; only the primary can do without it, by Worker.Disconnect.
func (s *Self) Disconnect() error {
	_ = s.link.send(kindLeave, nil) // without a primary there is nobody to tell
	return s.Close()
}

// IsConnected says whether messages can reach the primary.
func (s *Self) IsConnected() bool {
	select {
	case <-s.done:
		return false
	default:
		return s.link.connected()
	}
}
