package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
)

// listen opens the listening sockets of a new primary.
func (s *supervisor) listen(ctx context.Context) error {
	list, err := s.cfg.listeners()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	for _, l := range list {
		if l.Retired {
			continue
		}
		if _, err := s.acceptors.open(ctx, l, s.cfg.Workers); err != nil {
			s.acceptors.close()
			return err
		}
	}
	s.acceptors.publish()
	return nil
}

// inheritListeners takes over the listening sockets of the previous program, and opens those that it does not have. An
// address that cannot be opened is reported to the log: the clients of the others must be served.
func (s *supervisor) inheritListeners(h *inheritance) error {
	wanted, err := s.cfg.listeners()
	if err != nil {
		return err
	}
	left := h.sources(s.cfg.Scheduling == None)
	if len(h.Listeners) == 0 && len(left) == 1 && len(wanted) > 0 { // early releases have one address, and no names
		left[0].Name = wanted[0].Name
	}
	for _, b := range left {
		l := Listener{Name: b.Name, Tag: b.Tag, Retired: true}
		if i := slices.IndexFunc(wanted, func(l Listener) bool { return l.Name == b.Name }); i >= 0 {
			l = wanted[i]
		}
		if err := s.acceptors.inherit(l, b); err != nil {
			return err
		}
	}
	for _, l := range wanted {
		if l.Retired || s.acceptors.get(l.Name) != nil {
			continue
		}
		e, err := s.acceptors.open(context.Background(), l, 1)
		if err != nil {
			s.cfg.Logger.Error("address not served", "address", l.Name, "error", err)
			continue
		}
		e.fresh = true
	}
	s.acceptors.sort(wanted)
	s.acceptors.publish()
	return nil
}

// sources lists the listeners that the previous program has left, with their sockets.
func (h *inheritance) sources(perSlot bool) []inheritedSource {
	list := slices.Clone(h.Listeners)
	if len(list) == 0 && len(h.Acceptors) > 0 {
		list = []inheritedSource{{PerSlot: perSlot}}
	}
	if len(list) > 0 {
		list[0].Sockets = h.Acceptors
	}
	return list
}

// inherit takes over the sockets of a listener.
func (a *acceptors) inherit(l Listener, b inheritedSource) error {
	e := &endpoint{Listener: l, perSlot: b.PerSlot, retired: l.Retired, fresh: b.Staged}
	var opened []net.Listener
	for _, fd := range b.Sockets {
		ln, err := l.inherit(fd)
		if err != nil {
			closeListeners(opened)
			return fmt.Errorf("%w: listening socket of %q: %w", errInheritance, l.Name, err)
		}
		opened = append(opened, ln)
	}
	if len(opened) == 0 {
		return fmt.Errorf("%w: no listening socket of %q", errInheritance, l.Name)
	}
	if err := e.start(opened, a.disp, b.Number); err != nil {
		return err
	}
	a.list = append(a.list, e)
	return nil
}

// inherit returns a listener for a descriptor, which it closes.
func (l *Listener) inherit(fd int) (net.Listener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	if file == nil {
		return nil, os.ErrInvalid
	}
	defer file.Close()
	if l.Inherit != nil {
		return l.Inherit(file)
	}
	return net.FileListener(file)
}

// sort brings the endpoints into the order of the listeners, the retired ones last.
func (a *acceptors) sort(wanted []Listener) {
	at := func(e *endpoint) int {
		i := slices.IndexFunc(wanted, func(l Listener) bool { return l.Name == e.Name })
		if i < 0 || e.retired {
			return len(wanted)
		}
		return i
	}
	slices.SortStableFunc(a.list, func(x, y *endpoint) int { return at(x) - at(y) })
}

// inheritance lists the listeners for the next program.
func (a *acceptors) inheritance(h *inheritance, carry func(Handle) int) {
	for _, e := range a.list {
		if e.retired {
			continue
		}
		b := inheritedSource{Name: e.Name, Tag: e.Tag, Number: e.number, PerSlot: e.perSlot, Staged: e.staged}
		for _, one := range e.list {
			b.Sockets = append(b.Sockets, carry(one.file))
		}
		if len(h.Listeners) == 0 {
			h.Acceptors, b.Sockets = b.Sockets, nil
		}
		h.Listeners = append(h.Listeners, b)
	}
}

// openSlots completes the inherited listeners, once the inherited workers are known: each slot gets its socket, and
// each worker gets the sockets that are new. Those that are retired are drained. It is called on the loop.
func (s *supervisor) openSlots() {
	a := &s.acceptors
	for _, w := range s.roster.workers() {
		a.introduce(w)
	}
	if a.perSlot {
		s.openOwn()
	}
	a.begin()
	n := a.slots()
	for _, at := range s.slots {
		n = max(n, at.number)
	}
	for number := range n { // also those of slots that were removed, whose sockets stay open
		at := s.slots.get(number + 1)
		a.setSlot(number+1, at == nil || at.worker == nil || at.worker.State() != StateReady)
	}
	for _, e := range slices.Clone(a.list) {
		if e.retired {
			s.retireEndpoint(e)
		}
	}
}

// openOwn opens the sockets that slots do not have yet, with None, and passes them to the workers.
func (s *supervisor) openOwn() {
	a := &s.acceptors
	for _, e := range a.list {
		if e.retired {
			continue
		}
		last := 0
		for _, at := range s.slots {
			last = max(last, at.number)
		}
		had := len(e.list)
		if err := e.growTo(last, a.disp); err != nil {
			s.cfg.Logger.Error("listening socket not opened", "address", e.Name, "error", err)
		}
		for _, at := range s.slots {
			if one := a.of(e, at.number); one != nil && at.worker != nil && (e.fresh || e.perSlot && at.number > had) {
				s.passSocket(at.worker, taggedSocket{one.file, e})
			}
		}
	}
}

// passSocket passes a listening socket to a worker that runs.
func (s *supervisor) passSocket(w *Worker, t taggedSocket) {
	fd, err := duplicate(t.file)
	if err == nil {
		err = w.link.sendHandle(kindListener, t.payload(1), fd)
	}
	if err != nil && !errors.Is(err, ErrDisconnected) {
		s.cfg.Logger.Error("listening socket not passed", "worker", w.slot, "error", err)
	}
}

// retireEndpoint closes an endpoint that clients must not use any more. What waits in the queues is accepted first: by
// the workers, which have copies with None, and here.
func (s *supervisor) retireEndpoint(e *endpoint) {
	if s.acceptors.perSlot {
		for _, w := range s.roster.workers() {
			// Fails if it has disconnected.
			_ = w.link.send(kindRetire, binary.LittleEndian.AppendUint16(nil, e.number))
		}
	}
	s.acceptors.retiring.Add(1)
	go func() { // ends when the dispatcher has taken what waited
		for _, one := range e.list {
			one.drain()
		}
		s.loop.post(func() { s.acceptors.remove(e) })
		s.acceptors.retiring.Add(-1)
	}()
}
