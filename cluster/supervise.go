package cluster

import (
	"encoding/binary"
	"errors"
	"net"
	"os/exec"
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
			close(p.ended)
			return
		}
	}
}

// spawn starts a worker in an empty slot.
func (p *Primary) spawn(s *slot) {
	if p.stopping {
		return
	}
	p.nextID++
	s.generation++
	var own *net.TCPListener
	if p.cfg.Scheduling == None && p.listeners != nil {
		own = p.listeners[s.number-1]
	}
	w, err := spawn(&p.cfg, role{slot: s.number, slots: len(p.slots), generation: s.generation, id: p.nextID}, own)
	if err != nil {
		p.crashed(s, time.Now(), &StartError{Slot: s.number, Err: err})
		return
	}
	s.worker = w
	p.alive++
	p.mu.Lock()
	if old := p.workers[s.number-1]; old != nil {
		p.overload += old.Overloads()
	}
	p.workers[s.number-1] = w
	if s.generation > 1 {
		p.restarts++
	}
	p.mu.Unlock()
	s.timer = time.AfterFunc(p.cfg.StartTimeout, func() { p.do(func() { p.tooSlow(w) }) })
	p.tell(Event{Kind: EventFork, Worker: w})
	read := make(chan struct{})
	go p.listenTo(w, read) // ends with the worker, or when it leaves
	go p.await(s, w, read) // ends with the worker
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
	err := w.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) { // somebody else holds its standard error; its exit code was 0
		err = nil
	}
	select {
	case <-read: // what it said last was heard
	case <-time.After(time.Second): // somebody else holds its end of the socketpair
	}
	w.link.close()
	<-read
	p.do(func() { p.exited(s, w, err) })
}

// handle does what a worker says. It runs on the goroutine that reads from it.
func (p *Primary) handle(w *Worker, f fdpass.Frame) {
	closeFDs(f.FDs) // nobody asked for them
	switch f.Kind {
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
		if p.cfg.OnReport != nil {
			p.cfg.OnReport(w, f.Payload[8:])
		}
	}
}

// ready lets connections come to a worker.
func (p *Primary) ready(w *Worker) {
	s := p.slots[w.slot-1]
	if s.worker != w || w.State() != StateStarting || p.stopping {
		return
	}
	s.timer.Stop()
	w.state.Store(uint32(StateReady))
	p.tell(Event{Kind: EventReady, Worker: w})
	p.disp.add(w)
	if p.cfg.Scheduling == None && p.acceptors != nil {
		p.acceptors[w.slot-1].set(false) // it accepts by itself
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
		_ = w.cmd.Process.Kill()
	}
}

// disconnected takes note that a worker has left: it gets no more sockets, and must end soon.
func (p *Primary) disconnected(w *Worker) {
	s := p.slots[w.slot-1]
	p.disp.remove(w)
	if s.worker != w {
		return
	}
	w.state.Store(uint32(StateDraining))
	p.tell(Event{Kind: EventDisconnect, Worker: w, Wanted: w.wanted})
	if p.stopping {
		return // there is a deadline already
	}
	p.vacate(s)
	s.timer.Stop()
	s.timer = time.AfterFunc(exitGrace, func() {
		p.do(func() {
			if s.worker == w {
				w.why = "did not end after it had left"
				_ = w.cmd.Process.Kill()
			}
		})
	})
}

// vacate accepts in place of a worker that does not: nobody else accepts from the slot's listening socket.
func (p *Primary) vacate(s *slot) {
	if p.cfg.Scheduling == None && p.acceptors != nil && p.unready == 0 {
		p.acceptors[s.number-1].set(true)
	}
}

// exited takes note of a worker's end.
func (p *Primary) exited(s *slot, w *Worker, err error) {
	p.alive--
	s.timer.Stop()
	w.state.Store(uint32(StateDead))
	s.worker = nil
	p.disp.remove(w)
	p.tell(Event{Kind: EventExit, Worker: w, Err: err, Wanted: w.wanted})
	if p.stopping {
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
	wait, dead := s.history.crashed(p.cfg.Restart, began, time.Now())
	if dead {
		p.cfg.Logger.Error("worker crashes again and again", "worker", s.number, "end", why, "next_try", wait)
		p.mu.RLock()
		w := p.workers[s.number-1]
		p.mu.RUnlock()
		p.tell(Event{Kind: EventDead, Worker: w, Err: end})
	} else {
		p.cfg.Logger.Warn("worker ended", "worker", s.number, "end", why, "restart_in", wait)
	}
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
		a.set(false)
	}
	p.disp.stop()
	for _, s := range p.slots {
		if s.worker == nil {
			if s.timer != nil {
				s.timer.Stop()
			}
			continue
		}
		s.worker.wanted = true
		s.worker.state.Store(uint32(StateDraining))
		_ = s.worker.link.send(kindDrain, binary.LittleEndian.AppendUint64(nil, uint64(left.Milliseconds())))
	}
}

func (p *Primary) tell(e Event) {
	if p.cfg.OnEvent != nil {
		p.cfg.OnEvent(e)
	}
}
