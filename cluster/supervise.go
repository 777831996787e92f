package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/spool"
)

// exitGrace is how long a worker may continue to run after it has closed its link.
const exitGrace = 10 * time.Second

// maxLogs is the number of records that may wait for Config.Logger.
const maxLogs = 1024

// supervisor keeps the slots filled: it starts workers, watches them, and restarts those that die. Frames of workers
// and calls of methods reach it through the loop. Parts that have locks of their own (roster, launcher, disp, shared,
// rolls) may be used on any goroutine.
//
// Lock order: acceptor.busy before dispatcher.mu, and dispatcher.mu and roster.mu before link.mu. No other locks are
// held together, and no lock is held while a callback of Config runs.
type supervisor struct {
	cfg         Config
	loop        loop
	roster      roster
	launcher    launcher
	acceptors   acceptors
	disp        *dispatcher
	shared      shared // listening sockets that workers have asked for
	moves       moves
	rolls       rolls
	handlesLost atomic.Uint64
	logs        *spool.Queue // in front of the handler of Config.Logger
	started     chan error   // the first outcome of Start
	generation  int          // number of programs that this process has run as a primary; does not change

	// On the loop only.
	slots    slotTable
	nextID   uint64
	alive    int // processes
	unready  int // slots that have never been ready; 0 once Start has succeeded
	stopping bool
}

func newSupervisor(cfg Config) (*supervisor, error) {
	s := &supervisor{
		cfg: cfg, loop: newLoop(), disp: newDispatcher(cfg.Scheduling, newRefusals(cfg.Refusal)),
		unready: cfg.Workers, generation: 1, started: make(chan error, 1), logs: spool.New(maxLogs),
	}
	s.launcher.queueLimit, s.launcher.outlets.limit = cfg.QueueLimit, cfg.OutputLimit
	if err := s.launcher.find(cfg); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	s.cfg.Logger = slog.New(spool.NewHandler(cfg.Logger.Handler(), s.logs))
	s.acceptors = acceptors{perSlot: cfg.Scheduling == None, disp: s.disp}
	s.moves.onMove = cfg.OnMove
	return s, nil
}

// start starts the workers. It blocks until all are ready, one has failed, or ctx ends.
func (s *supervisor) start(ctx context.Context) error {
	for range s.cfg.Workers {
		s.slots.add(nil)
	}
	s.begin()
	s.loop.post(func() {
		for _, at := range slices.Clone(s.slots) {
			s.respawn(at)
		}
	})
	select {
	case err := <-s.started:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts the goroutines of the primary.
func (s *supervisor) begin() {
	go s.disp.run() // ends with stop
	go s.run()      // ends when all workers have ended
	if s.cfg.Heartbeat > 0 {
		go watchHeartbeats(s) // ends when all workers have ended
	}
	startReaper(s.loop.ended)
}

// run is the goroutine of the loop.
func (s *supervisor) run() {
	for {
		f := <-s.loop.inbox
		f()
		if s.stopping && s.alive == 0 {
			s.acceptors.close()
			s.shared.close()
			s.launcher.close()
			flush(outputDelay, s.logs)
			close(s.loop.ended)
			return
		}
	}
}

// The methods below belong to the loop, unless they are documented otherwise.

// respawn starts a worker in an empty slot.
func (s *supervisor) respawn(at *slot) {
	if s.stopping || at.worker != nil || at.next != nil {
		return
	}
	if at.generation > 0 {
		s.roster.restarted()
	}
	if err := s.launch(at); err != nil {
		end := &StartError{Slot: at.number, Err: err}
		s.emit(Event{Kind: EventError, Worker: s.roster.last(at.number), Err: end})
		s.crashed(at, time.Now(), end)
	}
}

// await waits for the exit of a worker. It runs on a goroutine of its own. read is closed when the link was read to its
// end.
func (s *supervisor) await(at *slot, w *Worker, read <-chan struct{}) {
	err := w.proc.wait()
	for waits := true; waits; {
		before := w.link.frames.Load()
		select {
		case <-read: // all that it sent was received
			waits = false
		case <-time.After(time.Second): // if nothing was read meanwhile, another process holds its end of the socketpair
			waits = w.link.frames.Load() != before
		}
	}
	w.link.close()
	<-read
	flush(outputDelay, s.launcher.outlets.queues()...) // write its last output before EventExit
	s.loop.post(func() { s.exited(at, w, err) })
}

// ready lets a worker receive connections.
func (s *supervisor) ready(w *Worker) {
	at := w.at
	if w.State() != StateStarting || s.stopping {
		return
	}
	w.timer.Stop()
	w.state.Store(uint32(StateReady))
	close(w.ready)
	at.down = false
	s.updateRefusing()
	s.emit(Event{Kind: EventReady, Worker: w})
	s.disp.add(w)
	s.acceptors.setSlot(w.slot, false) // the worker accepts itself
	if at.worker == nil {
		s.promote(w) // the worker that it was to replace has died meanwhile
	}
	if s.unready == 0 {
		return
	}
	if s.unready--; s.unready == 0 {
		s.acceptors.begin()
		s.started <- nil
	}
}

// startTimedOut kills a worker that is not ready in time.
func (s *supervisor) startTimedOut(w *Worker) {
	if w.State() == StateStarting {
		w.why = "not ready within " + s.cfg.StartTimeout.String()
		w.proc.kill()
	}
}

// disconnected handles the end of a worker's link: the worker gets no more sockets and must exit soon.
func (s *supervisor) disconnected(w *Worker) {
	s.disp.remove(w)
	w.state.Store(uint32(StateDraining))
	if n := w.link.unsent(); n > 0 {
		s.handlesLost.Add(n)
		s.emit(Event{Kind: EventError, Worker: w, Err: fmt.Errorf("%w: %d handles not sent", ErrDisconnected, n)})
	}
	s.emit(Event{Kind: EventDisconnect, Worker: w, Wanted: w.wanted})
	if w.wanted {
		return // it has a deadline
	}
	if w.at.worker == w {
		s.acceptFor(w.at)
	}
	w.timer.Stop()
	w.timer = time.AfterFunc(exitGrace, func() {
		s.loop.post(func() {
			if !w.IsDead() {
				w.why = "did not exit after it had disconnected"
				w.proc.kill()
			}
		})
	})
}

// acceptFor makes the primary accept from the listening socket of a slot whose worker does not.
func (s *supervisor) acceptFor(at *slot) {
	if s.unready == 0 && !s.stopping {
		s.acceptors.setSlot(at.number, true)
	}
}

// exited handles the exit of a worker.
func (s *supervisor) exited(at *slot, w *Worker, err error) {
	s.alive--
	w.timer.Stop()
	w.state.Store(uint32(StateDead))
	w.exit = err
	held := at.worker == w || at.next == w // otherwise another worker has its slot
	switch {
	case at.next == w:
		at.next = nil
	case at.worker == w:
		at.worker = nil
		if at.next != nil && at.next.State() == StateReady {
			s.promote(at.next)
		}
	}
	s.disp.remove(w)
	if !w.wanted && !s.stopping && !s.moves.involve(w) {
		s.moves.lose(w, w.held)
	}
	s.roster.ended(w)
	gone := w.dismissed && held && !s.stopping && s.unready == 0
	if gone {
		s.dropSlot(at)
	}
	s.shared.died(w.id)
	e := Event{Kind: EventExit, Worker: w, Err: err, Wanted: w.wanted}
	e.ExitCode, e.Signal = exitStatus(w.proc.state)
	s.emit(e)
	close(w.done)
	if s.stopping || gone || !held || at.worker != nil || at.next != nil {
		return
	}
	s.acceptFor(at)
	s.crashed(at, w.began, &StartError{Slot: at.number, Err: err, Reason: w.why, Stderr: w.stderr.String()})
}

// crashed plans the next start in a slot.
func (s *supervisor) crashed(at *slot, began time.Time, end *StartError) {
	if s.unready > 0 {
		s.fail(end)
		return
	}
	about := []any{"worker", at.number, "end", ending(end.Err, end.Reason, "")}
	if line := lastLine(end.Stderr); line != "" {
		about = append(about, "output", line) // it may have nothing to do with the end
	}
	at.crashes.Add(1)
	wait, dead := at.history.crashed(s.cfg.Restart, began, time.Now())
	if dead {
		s.cfg.Logger.Error("worker crashes again and again", append(about, "restart_in_seconds", wait.Seconds())...)
		s.emit(Event{Kind: EventDead, Worker: s.roster.last(at.number), Err: end})
	} else {
		s.cfg.Logger.Warn("worker ended", append(about, "restart_in_seconds", wait.Seconds())...)
	}
	at.down = at.down || dead || wait > soonEnough
	s.updateRefusing()
	if wait == 0 {
		s.respawn(at)
		return
	}
	at.timer = time.AfterFunc(wait, func() { s.loop.post(func() { s.respawn(at) }) })
}

// fail ends a start that has not succeeded.
func (s *supervisor) fail(err error) {
	offer(s.started, err) // the first error is the result of Start
	s.retire(0)
}

// retire stops accepting and asks all workers to exit.
func (s *supervisor) retire(left time.Duration) {
	s.stopping = true
	s.acceptors.close() // new clients are refused at once instead of waiting in vain
	s.disp.stop()
	for _, at := range s.slots {
		at.stopTimer()
	}
	for _, w := range s.roster.workers() { // including those that another worker has replaced
		if !w.IsDead() {
			w.ask(left)
		}
	}
}

// updateRefusing makes the dispatcher refuse new connections while all slots are down. Call it after each change of a
// slot.
func (s *supervisor) updateRefusing() {
	s.disp.setRefusing(s.unready == 0 && s.slots.allDown())
}

// emit calls Config.OnEvent.
func (s *supervisor) emit(e Event) {
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(e)
	}
}

// stats returns the counters. Any goroutine.
func (s *supervisor) stats() Stats {
	st := s.disp.snapshot()
	s.roster.count(&st)
	st.HandlesLost = s.handlesLost.Load()
	st.ConnectionsLost += s.moves.lost.Load()
	st.OutputLost += s.launcher.outlets.lost() // in addition to what previous programs have lost
	return st
}

// isStopping reports whether Drain or Stop was called. Not on the loop.
func (s *supervisor) isStopping() (yes bool) {
	s.loop.call(func() { yes = s.stopping })
	return yes
}

// slotList returns the slots. Not on the loop.
func (s *supervisor) slotList() (list []*slot) {
	s.loop.call(func() { list = append(list, s.slots...) })
	return list
}

// closePrograms closes the program files that a roll or a trial has opened and that are not used. Not on the loop.
func (s *supervisor) closePrograms() {
	s.loop.call(func() { s.launcher.closeUnused(s.slots) })
}

// exitStatus returns the exit code of a process, or -1 and the signal that killed it.
func exitStatus(s *os.ProcessState) (code int, sig syscall.Signal) {
	if s == nil {
		return -1, 0
	}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		sig = ws.Signal()
	}
	return s.ExitCode(), sig
}
