package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// greeted compares the two sides before anything is frozen.
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
		e.hello() // the giver needs it even if the versions do not match
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
		err = fmt.Errorf("%w: %d connections to move, %d descriptors free", errRoom, load, h.FreeFDs)
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

// sync waits until this worker has received all publications that the other one has not recorded.
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

// pump freezes one batch and sends it. It continues in a later turn of the loop, so that the other connections are
// served meanwhile.
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
		var d BatchData
		if b, d, left = e.host.Freeze(n); b.Len() > 0 {
			e.dispatch(b, d)
			e.host.Post(e.pump)
			return
		}
	}
	if left == 0 && len(e.flight) == 0 {
		e.finish()
	}
}

// dispatch sends a batch once everything that its connections have sent has been passed on.
func (e *End) dispatch(b Batch, d BatchData) {
	e.number++
	no := e.number
	if e.budget > 0 {
		e.budget -= b.Len()
	}
	e.out.Bytes += len(d.States)
	b.IDs(func(id uint64) { e.held[id] = nil })
	e.flight = append(e.flight, parcel{number: no, batch: b, data: d, frozen: e.opt.Now()})
	e.host.Fence(func() {
		for i := range e.flight {
			if p := &e.flight[i]; p.number == no && !p.sent {
				if i == 0 { // it is the one that is waited for
					e.progress = e.opt.Now()
				}
				p.sent = true
				e.ch.send(kindBatch, appendBatch(nil, no, p.frozen, p.data), p.data.FDs)
				p.data.States = nil
			}
		}
	})
}

// answered handles the taker's answer to the oldest batch.
func (e *End) answered(taken bool, b []byte) error {
	no, reason, err := number(b)
	if err != nil || len(e.flight) == 0 || e.flight[0].number != no || !e.flight[0].sent {
		return fmt.Errorf("%w: answer to batch %d", errFrame, no)
	}
	p := e.flight[0]
	var refusal Refusal
	if taken {
		if refusal, err = parseRefusal([]byte(reason), p.batch.Len()); err != nil || !e.gave && len(refusal.Places) > 0 {
			return fmt.Errorf("%w: answer to batch %d", errFrame, no)
		}
	}
	e.flight = e.flight[1:]
	e.progress, e.warned = e.opt.Now(), false
	if taken {
		if len(refusal.Places) > 0 {
			e.keep(p.batch.Split(refusal.Places), refusal.Reason)
		}
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
	case e.confused: // nothing is in transit any more
		return e.failure
	default:
		e.giveUp()
	}
	return nil
}

// released drops a batch that has a new owner and forwards the messages that were held for its connections.
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

// thaw puts the connections of a batch back and delivers the messages that were held for them.
func (e *End) thaw(p parcel) { e.goesOn(p.batch, func() { e.host.Thaw(p.batch) }) }

// keep is thaw for connections that the taker has refused.
func (e *End) keep(b Batch, reason string) { e.goesOn(b, func() { e.host.Keep(b, reason) }) }

// goesOn calls back, which puts b back on the loop, and then delivers the messages that were held.
func (e *End) goesOn(b Batch, back func()) {
	var waiting [][]byte
	b.IDs(func(id uint64) {
		waiting = append(waiting, e.held[id]...)
		delete(e.held, id)
	})
	back()
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

// fail stops giving. Batches in transit are still answered.
func (e *End) fail(err error) {
	if e.failure == nil {
		e.failure = err
	}
	e.giveUp()
}

// giveUp ends a move that cannot be completed: it reverts a move of all connections, and ends any other.
func (e *End) giveUp() {
	e.unsent()
	switch {
	case e.role != roleGiving && e.role != roleEnding:
	case !e.gave: // it cannot return what it has: treat the other side as dead
		e.ch.close()
		e.broken(e.failure)
	case e.opt.Count >= 0:
		if e.role == roleGiving { // not a second time
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

// unsent thaws the batches that were not sent yet.
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

// finish sends END: nothing more will be given.
func (e *End) finish() {
	e.out.Staying = e.host.Stay()
	e.role, e.progress = roleEnding, e.opt.Now()
	e.ch.send(kindEnd, binary.LittleEndian.AppendUint64(nil, uint64(e.out.Moved)), nil)
}

// got handles GOT, the taker's last frame.
func (e *End) got() error {
	if e.gave && e.role == roleReverting && !e.crossed && len(e.flight) == 0 {
		e.crossed = true // the taker sent it before it received REVERT
		return nil
	}
	if e.role != roleEnding || len(e.flight) > 0 {
		return errFrame
	}
	if !e.gave { // everything is back at the giver
		e.ch.send(kindLast, nil, nil)
		e.close(nil)
		return nil
	}
	e.role = roleSettling
	e.out.Err = e.failure
	e.opt.Given(e.out)
	return nil
}

// reverted handles REVERT: everything goes back.
func (e *End) reverted(why string) error {
	if e.gave || e.role != roleTaking && e.role != roleSettling {
		return errFrame
	}
	e.failure = nil
	e.out.Err = errors.New(why)
	// The other side has recorded publications only since the move began: this side must have received all before.
	e.role, e.budget = roleSyncing, -1
	e.host.Sync(e.sync)
	return nil
}
