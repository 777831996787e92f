package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// inherit makes p go on where the program before had stopped. Before run.
func (p *Primary) inherit(i *Inheritance) error {
	h := i.h
	p.generation, p.nextID = i.Generation(), h.NextID
	p.moveIDs.Store(h.MoveIDs)
	p.rolled = h.Rolled
	p.disp.stats = h.Stats
	p.lost.Store(h.Stats.HandlesLost)
	p.roster.restarts, p.roster.overload = h.Stats.Restarts, h.Stats.Overloads
	for _, fd := range h.Acceptors {
		ln, ok := makeHandle(handleTCPListener, fd).(*net.TCPListener)
		if !ok {
			return fmt.Errorf("%w: listening socket", errInheritance)
		}
		p.listeners = append(p.listeners, ln)
	}
	if err := p.openAcceptors(); err != nil {
		return err
	}
	for _, s := range h.Shared {
		if err := p.shared.inherit(s); err != nil {
			return err
		}
	}
	for _, b := range h.Slots {
		s := &slot{number: b.Number, generation: b.Generation, env: b.Env}
		s.crashes.Store(b.Crashes)
		p.slots = append(p.slots, s)
	}
	for _, b := range h.Workers {
		at := slices.IndexFunc(p.slots, func(s *slot) bool { return s.number == b.Slot })
		w, err := p.inheritWorker(b, p.slots[at])
		if err != nil {
			return fmt.Errorf("worker %d: %w", b.Slot, err)
		}
		p.slots[at].worker = w
	}
	for _, fd := range h.Files {
		closeFD(fd) // nobody has asked for it
	}
	clear(h.Files) // nobody can any more: the numbers will be of other files
	return nil
}

func (p *Primary) inheritWorker(b inheritedWorker, s *slot) (*Worker, error) {
	w := &Worker{
		slot: b.Slot, generation: b.Generation, id: b.ID, began: b.Began, wanted: b.Wanted, dismissed: b.Dismissed,
		primary: p, at: s, ready: make(chan struct{}), done: make(chan struct{}),
		stderr: &tail{to: p.outlets.writer(p.settings.Stderr), last: b.Stderr}, proc: new(process),
	}
	w.state.Store(uint32(b.State))
	w.load.Store(b.Load)
	w.total.Store(b.Passed)
	if b.State != StateStarting {
		close(w.ready)
	}
	proc, err := os.FindProcess(b.PID)
	if err != nil {
		return nil, err
	}
	w.proc.os = proc
	for k, fd := range b.Output {
		to := p.outlets.writer(p.settings.Stdout)
		if k == len(b.Output)-1 { // standard error is the last
			to = w.stderr
		}
		w.proc.output = append(w.proc.output, pass(os.NewFile(uintptr(fd), "output"), to))
	}
	if b.Link < 0 { // it had left already: a link that has ended
		ours, theirs, err := fdpass.Pair()
		if err != nil {
			return nil, err
		}
		_ = theirs.Close()
		b.Link, err = duplicate(ours)
		_ = ours.Close()
		if err != nil {
			return nil, err
		}
	}
	conn, err := fdpass.NewConn(os.NewFile(uintptr(b.Link), "worker"), maxFrame)
	if err != nil {
		return nil, err
	}
	conn.Restore(b.Rest, b.RestFDs)
	w.link = newLink(conn, p.cfg.QueueLimit)
	w.timer = time.AfterFunc(p.cfg.StartTimeout, func() { p.do(func() { p.tooSlow(w) }) })
	if b.State != StateStarting {
		w.timer.Stop()
	}
	return w, nil
}

// resume makes inherited workers known, starts those that are missing, and then hears what they say: a message from one
// that is for another must find it. On the run loop, first of all.
func (p *Primary) resume() {
	p.unready = 0
	before := p.nextID
	for _, s := range slices.Clone(p.slots) {
		w := s.worker
		if w == nil {
			p.spawn(s)
			continue
		}
		p.alive++
		p.roster.enter(w)
		p.tell(Event{Kind: EventInherit, Worker: w})
	}
	for _, w := range p.Workers() {
		s := w.at
		if s.worker != w || w.id > before {
			continue
		}
		if state := w.State(); state == StateReady || state == StateMoving {
			p.disp.add(w)
		}
		read := make(chan struct{})
		go p.listenTo(w, read) // ends with the worker, or when it leaves
		go p.await(s, w, read) // ends with the worker
	}
	for i, a := range p.acceptors {
		a.set(p.cfg.Scheduling != None || !p.accepts(i+1))
	}
	allowSignals()
	p.started <- nil
}

// accepts says whether the worker of a slot accepts by itself.
func (p *Primary) accepts(number int) bool {
	for _, s := range p.slots {
		if s.number == number && s.worker != nil {
			return s.worker.State() == StateReady
		}
	}
	return false
}

// inherit takes a socket over.
func (s *shared) inherit(b inheritedSocket) error {
	h := makeHandle(b.Kind, b.FD)
	if h == nil {
		return errors.Join(errInheritance, errors.New("shared socket"))
	}
	if s.sockets == nil {
		s.sockets = make(map[string]*sharedSocket)
	}
	at := &sharedSocket{handle: h, users: make(map[uint64]struct{})}
	for _, id := range b.Users {
		at.users[id] = struct{}{}
	}
	s.sockets[b.Key] = at
	return nil
}
