package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// greeted compares the two sides, before anything is frozen.
func (e *End) greeted(b []byte) error {
	if e.role != roleGreeting {
		return errFrame
	}
	h, err := parseHello(b)
	if err != nil {
		return err
	}
	e.peer = h
	_, err = common(e.opt.Hello, h)
	if !e.gave {
		e.hello() // the giver has to see both in any case
		e.failure = err
		if err == nil {
			e.role = roleTaking
		}
		return nil
	}
	load := e.host.Load()
	if e.budget >= 0 {
		load = min(load, e.budget)
	}
	if err == nil && load > int(h.FreeFDs) {
		err = fmt.Errorf("%w: %d connections are to move, %d descriptors are free", errRoom, load, h.FreeFDs)
	}
	if err != nil {
		e.ch.close()
		e.close(err)
		return nil
	}
	e.role, e.progress = roleSyncing, e.opt.Now()
	e.sync()
	return nil
}

// sync waits until this worker has had all publications that the other one does not keep.
func (e *End) sync() {
	if e.role != roleSyncing {
		return
	}
	if e.host.Position() < e.peer.Position {
		e.host.Sync(e.sync)
		return
	}
	e.role = roleGiving
	e.host.Depart(e.budget < 0)
	e.pump()
}

// pump freezes one batch and sends it on its way. It comes back in a later turn of the loop, so that the other
// connections are served meanwhile.
func (e *End) pump() {
	if e.role != roleGiving || e.failure != nil || len(e.flight) >= window {
		return
	}
	n := batchSize
	if e.budget >= 0 {
		n = min(n, e.budget)
	}
	left := 0
	if n > 0 {
		var b Batch
		var c BatchData
		if b, c, left = e.host.Freeze(n); b.Len() > 0 {
			e.dispatch(b, c)
			e.host.Post(e.pump)
			return
		}
	}
	if left == 0 && len(e.flight) == 0 {
		e.finish()
	}
}

// dispatch sends a batch when all that its connections have said has been passed on.
func (e *End) dispatch(b Batch, c BatchData) {
	e.number++
	no := e.number
	if e.budget > 0 {
		e.budget -= b.Len()
	}
	e.out.Bytes += len(c.States)
	b.IDs(func(id uint64) { e.held[id] = nil })
	e.flight = append(e.flight, parcel{number: no, batch: b, cargo: c, frozen: e.opt.Now()})
	e.host.Fence(func() {
		for i := range e.flight {
			if p := &e.flight[i]; p.number == no && !p.sent {
				if len(e.flight) == 1 || i == 0 {
					e.progress = e.opt.Now()
				}
				p.sent = true
				e.ch.send(kindBatch, appendBatch(nil, no, p.frozen, p.cargo), p.cargo.FDs)
				p.cargo.States = nil
			}
		}
	})
}

// answered is the taker's word about the oldest batch.
func (e *End) answered(taken bool, b []byte) error {
	no, reason, err := number(b)
	if err != nil || len(e.flight) == 0 || e.flight[0].number != no || !e.flight[0].sent {
		return fmt.Errorf("%w: answer to batch %d", errFrame, no)
	}
	p := e.flight[0]
	e.flight = e.flight[1:]
	e.progress, e.warned = e.opt.Now(), false
	if taken {
		e.released(p)
	} else {
		e.thaw(p)
		if e.failure == nil {
			e.failure = fmt.Errorf("%w: %s", errRefused, reason)
		}
	}
	switch {
	case e.failure == nil:
		e.pump()
	case len(e.flight) > 0:
	case e.confused: // nothing is under way any more
		return e.failure
	default:
		e.giveUp()
	}
	return nil
}

// released hands on what waited for the connections of a batch that has a new owner.
func (e *End) released(p parcel) {
	n := p.batch.Len()
	p.batch.IDs(func(id uint64) {
		list := e.held[id]
		delete(e.held, id)
		e.gone[id] = struct{}{}
		for _, m := range list {
			e.ch.send(kindForward, m, nil)
		}
	})
	e.host.Release(p.batch)
	if e.gave {
		e.out.Moved += n
	} else {
		e.out.Returned += n
	}
}

// thaw makes the connections of a batch live here again.
func (e *End) thaw(p parcel) {
	var waiting [][]byte
	p.batch.IDs(func(id uint64) {
		waiting = append(waiting, e.held[id]...)
		delete(e.held, id)
	})
	e.host.Thaw(p.batch)
	for _, m := range waiting {
		e.host.Deliver(m)
	}
}

func (e *End) thawAll() {
	flight := e.flight
	e.flight = nil
	for _, p := range flight {
		e.thaw(p)
	}
}

// fail stops the giving. What is under way is answered still.
func (e *End) fail(err error) {
	if e.failure == nil {
		e.failure = err
	}
	e.giveUp()
}

// giveUp ends a move that cannot be completed: a complete one is turned around, a partial one ends where it is.
func (e *End) giveUp() {
	e.unsent()
	switch {
	case e.role != roleGiving && e.role != roleEnding:
	case !e.gave: // it cannot return what it has: the other one is as good as gone
		e.ch.close()
		e.broken(e.failure)
	case e.opt.Count >= 0:
		if e.role == roleGiving { // once only
			e.finish()
		}
	default:
		if e.role == roleGiving {
			e.out.Staying = e.host.Stay()
		}
		e.role = roleReverting
		e.ch.send(kindRevert, []byte(e.failure.Error()), nil)
	}
}

// unsent thaws the batches that have not left yet.
func (e *End) unsent() {
	for len(e.flight) > 0 {
		last := e.flight[len(e.flight)-1]
		if last.sent {
			return
		}
		e.flight = e.flight[:len(e.flight)-1]
		e.thaw(last)
	}
}

// finish says that nothing more will be given.
func (e *End) finish() {
	e.out.Staying = e.host.Stay()
	e.role, e.progress = roleEnding, e.opt.Now()
	e.ch.send(kindEnd, binary.LittleEndian.AppendUint64(nil, uint64(e.out.Moved)), nil)
}

// got is the taker's last word.
func (e *End) got() error {
	if e.gave && e.role == roleReverting && !e.crossed && len(e.flight) == 0 {
		e.crossed = true // it was on its way to meet REVERT
		return nil
	}
	if e.role != roleEnding || len(e.flight) > 0 {
		return errFrame
	}
	if !e.gave { // all is back where it came from
		e.ch.send(kindLast, nil, nil)
		e.close(nil)
		return nil
	}
	e.role = roleSettling
	e.out.Err = e.failure
	e.opt.Given(e.out)
	return nil
}

// reverted turns the channel around: everything goes back.
func (e *End) reverted(why string) error {
	if e.gave || e.role != roleTaking && e.role != roleSettling {
		return errFrame
	}
	e.failure = nil
	e.out.Err = errors.New(why)
	// The other side keeps no publications but those since the move began: this one must have had all before.
	e.role, e.budget = roleSyncing, -1
	e.host.Sync(e.sync)
	return nil
}
