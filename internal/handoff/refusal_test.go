//go:build unix

package handoff

import (
	"errors"
	"slices"
	"testing"
)

// TestFewThatCannotBeReadStay: connections whose states the taker cannot read stay, with their messages, and the others
// move.
func TestFewThatCannotBeReadStay(t *testing.T) {
	const n = window*batchSize - 2
	w := newWorld(t, n)
	bad := []uint64{1, 17, 64, 65, n}
	for _, id := range bad {
		w.taker.unreadable[id] = true
	}
	w.giver.fenced = true // so that messages come while all are on their way
	w.start()
	w.giver.await(t, "all batches wait", func() bool { return len(w.giver.fences) == window })
	w.giver.do(t, func() {
		for id := uint64(1); id <= n; id++ {
			w.giver.Deliver(message(id, "hello"))
		}
		w.giver.fenced = false
		for _, done := range w.giver.fences {
			done()
		}
	})
	o := w.given()
	if o.Err != nil || o.Moved != n-len(bad) || o.Staying != len(bad) {
		t.Errorf("given %+v, want %d moved and %d staying", o, n-len(bad), len(bad))
	}
	w.settle()
	if o := w.taken(); o.Err != nil || o.Moved != n-len(bad) {
		t.Errorf("taken %+v", o)
	}
	w.owned(len(bad), n-len(bad))
	for id := uint64(1); id <= n; id++ {
		at := w.taker
		if slices.Contains(bad, id) {
			at = w.giver
		}
		if got := at.said[id]; !slices.Equal(got, []string{"hello"}) {
			t.Errorf("connection %d: got %q at %s", id, got, at.name)
		}
	}
}

// TestManyThatCannotBeReadRevert: more than a few of them are no accident, and nothing moves.
func TestManyThatCannotBeReadRevert(t *testing.T) {
	const n = 2 * batchSize
	w := newWorld(t, n)
	for id := uint64(n); id > n-maxRefused-1; id-- {
		w.taker.unreadable[id] = true
	}
	w.taker.onAdmit = func(ids []uint64) error {
		count := 0
		for _, id := range ids {
			if w.taker.unreadable[id] {
				count++
			}
		}
		if count > maxRefused {
			return errors.New("too many")
		}
		return nil
	}
	w.start()
	wantErr(t, w.given().Err, errRefused)
	w.owned(n, 0)
}

// TestAnEarlierGiverIsToldAllOrNothing: a build that does not know of refusals in an ACK gets none.
func TestAnEarlierGiverIsToldAllOrNothing(t *testing.T) {
	w := newWorld(t, 0)
	a, b := pair(t)
	w.take(b)
	p := newPeer(t, a)
	hello := w.opt.Hello.append(nil)
	hello[0] = 1
	p.write(kindHello, hello)
	p.read(kindHello)
	spare := -1
	w.taker.onSpare = func(n int) { spare = n }
	w.taker.do(t, func() {})
	p.write(kindBatch, appendBatch(nil, 1, 1, BatchData{}))
	p.read(kindAck)
	w.taker.do(t, func() {
		if spare != 0 {
			t.Errorf("the taker may refuse %d, want none", spare)
		}
	})
	p.close()
	w.taken()
}
