package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// exitGrace is how long a worker may stay after it has left its primary.
const exitGrace = 10 * time.Second

// run is the goroutine that owns the slots. All methods in this file belong to it, unless they say otherwise.
func (p *Primary) run() {
	for {
		f := <-p.inbox
		f()
		if p.stopping && p.alive == 0 {
			for _, a := range p.acceptors {
				a.close()
			}
			p.shared.close()
			p.programs.close()
			flush(outputDelay, p.logs)
			close(p.ended)
			return
		}
	}
}

// spawn starts a worker in an empty slot.
func (p *Primary) spawn(s *slot) {
	if p.stopping || s.worker != nil || s.next != nil {
		return
	}
	if s.generation > 0 {
		p.roster.restarted()
	}
	if err := p.launch(s); err != nil {
		end := &StartError{Slot: s.number, Err: err}
		p.tell(Event{Kind: EventError, Worker: p.roster.last(s.number), Err: end})
		p.crashed(s, time.Now(), end)
	}
}

// listenTo reads from a worker until there is no more. It runs on a goroutine of its own.
func (p *Primary) listenTo(w *Worker, read chan<- struct{}) {
	defer close(read)
	err := w.link.read(func(f fdpass.Frame) { p.handle(w, f) })
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
		p.cfg.Logger.Warn("connection to worker broke", "worker", w.slot, "error", err)
	}
	w.link.close()
	p.do(func() { p.disconnected(w) })
}

// await waits for a worker's end. It runs on a goroutine of its own.
func (p *Primary) await(s *slot, w *Worker, read <-chan struct{}) {
	err := w.proc.wait()
	for waits := true; waits; {
		before := w.link.frames.Load()
		select {
		case <-read: // what it said last was heard
			waits = false
		case <-time.After(time.Second): // if nothing was read meanwhile, somebody else holds its end of the socketpair
			waits = w.link.frames.Load() != before
		}
	}
	w.link.close()
	<-read
	flush(outputDelay, p.outlets.queues()...) // its last words come before the news of its end
	p.do(func() { p.exited(s, w, err) })
}

// handle does what a worker says. It runs on the goroutine that reads from it.
func (p *Primary) handle(w *Worker, f fdpass.Frame) {
	if f.Kind != kindHandle {
		closeFDs(f.FDs) // nobody asked for them
	}
	switch f.Kind {
	case kindHandle:
		p.receiveHandle(w, f)
	case kindOnline:
		p.doNow(func() { p.tell(Event{Kind: EventOnline, Worker: w}) }) // before its messages, which this goroutine reads
	case kindLeave:
		p.do(func() { w.left = true })
	case kindListening:
		if addr, ok := parseAddr(f.Payload); ok {
			p.do(func() { p.tell(Event{Kind: EventListening, Worker: w, Addr: addr}) })
		}
	case kindListen:
		p.share(w, f.Payload)
	case kindMoving, kindGiven, kindTaken, kindStuck:
		p.handleMove(w, f)
	case kindUnlisten:
		p.shared.leave(w.id, string(f.Payload))
	case kindMessage:
		if p.cfg.OnMessage != nil {
			p.cfg.OnMessage(w, f.Payload)
		}
	case kindReady:
		p.do(func() { p.ready(w) })
	case kindAck:
		if len(f.Payload) == 6 {
			p.disp.ack(w, binary.LittleEndian.Uint32(f.Payload), int(binary.LittleEndian.Uint16(f.Payload[4:])))
		}
	case kindReport:
		if len(f.Payload) < 8 {
			return
		}
		p.disp.report(w, int64(binary.LittleEndian.Uint64(f.Payload)))
		w.reports.Add(1)
		if p.cfg.OnReport != nil {
			p.cfg.OnReport(w, f.Payload[8:])
		}
	}
}

// ready lets connections come to a worker.
func (p *Primary) ready(w *Worker) {
	s := w.at
	if w.State() != StateStarting || p.stopping {
		return
	}
	w.timer.Stop()
	w.state.Store(uint32(StateReady))
	close(w.ready)
	s.down = false
	p.judge()
	p.tell(Event{Kind: EventReady, Worker: w})
	p.disp.add(w)
	if p.cfg.Scheduling == None && p.acceptors != nil {
		p.acceptors[w.slot-1].set(false) // it accepts by itself
	}
	if s.worker == nil {
		p.promote(w) // the one that it was to replace has died meanwhile
	}
	if p.unready == 0 {
		return
	}
	if p.unready--; p.unready == 0 {
		if p.cfg.Scheduling != None && p.acceptors != nil {
			p.acceptors[0].set(true)
		}
		p.started <- nil
	}
}

// tooSlow ends a worker that does not become ready.
func (p *Primary) tooSlow(w *Worker) {
	if w.State() == StateStarting {
		w.why = "not ready within " + p.cfg.StartTimeout.String()
		w.proc.kill()
	}
}

// disconnected takes note that a worker has left: it gets no more sockets, and must end soon.
func (p *Primary) disconnected(w *Worker) {
	s := w.at
	p.disp.remove(w)
	w.state.Store(uint32(StateDraining))
	if n := w.link.unsent(); n > 0 {
		p.lost.Add(n)
		p.tell(Event{Kind: EventError, Worker: w, Err: fmt.Errorf("%w: %d handles not sent", ErrDisconnected, n)})
	}
	p.tell(Event{Kind: EventDisconnect, Worker: w, Wanted: w.wanted})
	if w.wanted {
		return // there is a deadline already
	}
	if s.worker == w {
		p.vacate(s)
	}
	w.timer.Stop()
	w.timer = time.AfterFunc(exitGrace, func() {
		p.do(func() {
			if !w.IsDead() {
				w.why = "did not end after it had left"
				w.proc.kill()
			}
		})
	})
}

// vacate accepts in place of a worker that does not: nobody else accepts from the slot's listening socket.
func (p *Primary) vacate(s *slot) {
	if p.cfg.Scheduling == None && s.number <= len(p.acceptors) && p.unready == 0 && !p.stopping {
		p.acceptors[s.number-1].set(true)
	}
}

// exited takes note of a worker's end.
func (p *Primary) exited(s *slot, w *Worker, err error) {
	p.alive--
	w.timer.Stop()
	w.state.Store(uint32(StateDead))
	w.exit = err
	held := s.worker == w || s.next == w // else another one has its place
	switch {
	case s.next == w:
		s.next = nil
	case s.worker == w:
		s.worker = nil
		if s.next != nil && s.next.State() == StateReady {
			p.promote(s.next)
		}
	}
	p.disp.remove(w)
	p.died(w)
	p.roster.ended(w)
	gone := w.dismissed && held && !p.stopping && p.unready == 0
	if gone {
		p.dropSlot(s)
	}
	p.shared.died(w.id)
	e := Event{Kind: EventExit, Worker: w, Err: err, Wanted: w.wanted}
	e.ExitCode, e.Signal = exitOf(w.proc.state)
	p.tell(e)
	close(w.done)
	if p.stopping || gone || !held || s.worker != nil || s.next != nil {
		return
	}
	p.vacate(s)
	p.crashed(s, w.began, &StartError{Slot: s.number, Err: err, Reason: w.why, Stderr: w.stderr.String()})
}

// crashed plans the next start in a slot.
func (p *Primary) crashed(s *slot, began time.Time, end *StartError) {
	if p.unready > 0 {
		p.fail(end)
		return
	}
	why := ending(end.Err, end.Reason, end.Stderr)
	s.crashes.Add(1)
	wait, dead := s.history.crashed(p.cfg.Restart, began, time.Now())
	if dead {
		p.cfg.Logger.Error("worker crashes again and again", "worker", s.number, "end", why,
			"restart_in_seconds", wait.Seconds())
		p.tell(Event{Kind: EventDead, Worker: p.roster.last(s.number), Err: end})
	} else {
		p.cfg.Logger.Warn("worker ended", "worker", s.number, "end", why, "restart_in_seconds", wait.Seconds())
	}
	s.down = s.down || dead || wait > soonEnough
	p.judge()
	if wait == 0 {
		p.spawn(s)
		return
	}
	s.timer = time.AfterFunc(wait, func() { p.do(func() { p.spawn(s) }) })
}

// fail ends a start that has not succeeded.
func (p *Primary) fail(err error) {
	select {
	case p.started <- err:
	default: // it is known already
	}
	p.retire(0)
}

// retire stops accepting and asks the workers to end.
func (p *Primary) retire(left time.Duration) {
	p.stopping = true
	for _, a := range p.acceptors {
		a.close() // new clients are refused at once instead of waiting for nobody
	}
	p.disp.stop()
	for _, s := range p.slots {
		if s.timer != nil {
			s.timer.Stop()
		}
	}
	for _, w := range p.Workers() { // those included that another one has replaced
		if !w.IsDead() {
			w.ask(left)
		}
	}
}

// exitOf is the exit code of a process, or -1 and the signal that killed it.
func exitOf(s *os.ProcessState) (code int, sig syscall.Signal) {
	if s == nil {
		return -1, 0
	}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		sig = ws.Signal()
	}
	return s.ExitCode(), sig
}

func (p *Primary) tell(e Event) {
	if p.cfg.OnEvent != nil {
		p.cfg.OnEvent(e)
	}
}
