package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// Stats is what a primary has done. Counters only grow.
type Stats struct {
	Accepted      uint64 // sockets
	Passed        uint64 // sockets sent to workers, some of them more than once
	Redistributed uint64 // sockets that one worker did not take, and that went to another
	Refused       uint64 // sockets that were closed because no worker took them
	AcceptErrors  uint64
	Restarts      uint64 // workers that were started in place of one that had died
}

// Primary runs the workers.
type Primary struct {
	cfg       Config
	listeners []*net.TCPListener
	acceptors []*acceptor
	disp      *dispatcher
	inbox     chan func()
	started   chan error    // the first outcome of Start
	ended     chan struct{} // closed when all workers have ended after Drain or Stop

	// On the run loop only.
	slots    []*slot
	nextID   uint64
	alive    int // processes
	unready  int // slots that have not been ready once
	stopping bool

	mu       sync.RWMutex
	workers  []*Worker // of each slot the last one
	restarts uint64
}

// slot is a worker's place.
type slot struct {
	number, generation int
	worker             *Worker // nil while there is none
	history            history
	timer              *time.Timer // of the next start, or of the limit of the present one
}

// Start runs the workers and returns when all of them are ready. If one does not become ready, everything is stopped again
// and the error tells its slot, its end and its last words. After Start, ctx has no meaning.
func Start(ctx context.Context, cfg Config) (*Primary, error) {
	if !Supported {
		return nil, ErrUnsupported
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if cfg.Workers < 1 || cfg.Workers > MaxWorkers {
		return nil, fmt.Errorf("cluster: %d workers: want 1 to %d", cfg.Workers, MaxWorkers)
	}
	p := &Primary{
		cfg: cfg, disp: newDispatcher(cfg.Scheduling), unready: cfg.Workers,
		inbox: make(chan func(), 64), started: make(chan error, 1), ended: make(chan struct{}),
	}
	if cfg.Listen != "" {
		p.listeners, err = listen(ctx, cfg.Listen, cfg.Workers, cfg.Scheduling == None)
		if err != nil {
			return nil, err
		}
	}
	for _, ln := range p.listeners {
		a := newAcceptor(ln, p.disp)
		p.acceptors = append(p.acceptors, a)
		go a.run() // ends with close
	}
	for i := range cfg.Workers {
		p.slots = append(p.slots, &slot{number: i + 1})
	}
	p.workers = make([]*Worker, cfg.Workers)
	go p.disp.run() // ends with stop
	go p.run()      // ends when all workers have ended
	p.do(func() {
		for _, s := range p.slots {
			p.spawn(s)
		}
	})
	select {
	case err = <-p.started:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Addr is the address that clients come to; nil without Config.Listen.
func (p *Primary) Addr() net.Addr {
	if len(p.listeners) == 0 {
		return nil
	}
	return p.listeners[0].Addr()
}

// Workers are the workers of all slots in their order; of a slot that is empty the one that has died, in StateDead.
func (p *Primary) Workers() []*Worker {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*Worker, 0, len(p.workers))
	for _, w := range p.workers {
		if w != nil {
			list = append(list, w)
		}
	}
	return list
}

// Broadcast sends a message to all workers that are ready. Those whose queue is full miss it.
func (p *Primary) Broadcast(m []byte) {
	for _, w := range p.Workers() {
		if w.State() == StateReady {
			_ = w.Send(m) // counted by the link
		}
	}
}

// Stats returns a snapshot.
func (p *Primary) Stats() Stats {
	s := p.disp.snapshot()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s.Restarts = p.restarts
	return s
}

// Done is closed when all workers have ended after Drain or Stop.
func (p *Primary) Done() <-chan struct{} { return p.ended }

// Drain stops accepting, asks the workers to finish within the time that ctx has, and waits for their end. It returns the
// number of those that had to be killed.
func (p *Primary) Drain(ctx context.Context) (killed int) {
	left := time.Hour
	if deadline, ok := ctx.Deadline(); ok {
		left = max(time.Until(deadline), 0)
	}
	p.do(func() { p.retire(left) })
	select {
	case <-p.ended:
		return 0
	case <-ctx.Done():
	}
	p.do(func() {
		for _, s := range p.slots {
			if s.worker != nil {
				killed++
				_ = s.worker.cmd.Process.Kill()
			}
		}
	})
	<-p.ended
	return killed
}

// stopGrace is the time that Stop gives the workers.
const stopGrace = 2 * time.Second

// Stop ends everything without waiting for connections.
func (p *Primary) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	p.do(func() { p.retire(0) })
	p.Drain(ctx)
}

// do runs f on the run loop, after what was asked for before.
func (p *Primary) do(f func()) {
	select {
	case p.inbox <- f:
	case <-p.ended:
	}
}

// The functions below belong to the run loop.

func (p *Primary) run() {
	for {
		f := <-p.inbox
		f()
		if p.stopping && p.alive == 0 {
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
		p.crashed(s, time.Now(), err)
		return
	}
	s.worker = w
	p.alive++
	p.mu.Lock()
	p.workers[s.number-1] = w
	if s.generation > 1 {
		p.restarts++
	}
	p.mu.Unlock()
	s.timer = time.AfterFunc(p.cfg.StartTimeout, func() { p.do(func() { p.tooSlow(w) }) })
	p.tell(Event{Kind: EventFork, Worker: w})
	read := make(chan struct{})
	go func() { // ends with the worker
		defer close(read)
		if err := w.link.read(func(f fdpass.Frame) { p.handle(w, f) }); err != nil && !errors.Is(err, net.ErrClosed) {
			p.cfg.Logger.Warn("connection to worker broke", "worker", w.slot, "error", err)
		}
	}()
	go func() { // ends with the worker
		err := w.cmd.Wait()
		select {
		case <-read: // what it said last was heard
		case <-time.After(time.Second): // somebody else holds its end of the socketpair
		}
		w.link.close()
		<-read
		p.do(func() { p.exited(s, w, err) })
	}()
}

// handle does what a worker says. It runs on the goroutine that reads from it.
func (p *Primary) handle(w *Worker, f fdpass.Frame) {
	for _, fd := range f.FDs {
		closeFD(fd) // nobody asked for it
	}
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
		w.passed.Store(0)
		w.load.Store(int64(binary.LittleEndian.Uint64(f.Payload)))
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
		p.cfg.Logger.Error("worker does not become ready", "worker", w.slot, "waited", p.cfg.StartTimeout)
		_ = w.cmd.Process.Kill()
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
	end := "exit status 0"
	if err != nil {
		end = err.Error()
	}
	if line := w.stderr.lastLine(); line != "" {
		end += ": " + line
	}
	if p.unready > 0 {
		p.fail(fmt.Errorf("cluster: worker %d did not start: %s", w.slot, end))
		return
	}
	if p.cfg.Scheduling == None && p.acceptors != nil {
		p.acceptors[s.number-1].set(true) // nobody else accepts from the slot's socket
	}
	p.crashed(s, w.began, errors.New(end))
}

// crashed plans the next start in a slot.
func (p *Primary) crashed(s *slot, began time.Time, why error) {
	if p.unready > 0 {
		p.fail(fmt.Errorf("cluster: worker %d did not start: %w", s.number, why))
		return
	}
	wait, dead := s.history.crashed(p.cfg.Restart, began, time.Now())
	if dead {
		p.cfg.Logger.Error("worker crashes again and again", "worker", s.number, "end", why, "next_try", wait)
		p.mu.RLock()
		w := p.workers[s.number-1]
		p.mu.RUnlock()
		p.tell(Event{Kind: EventDead, Worker: w, Err: why})
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
		a.close()
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
