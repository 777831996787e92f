//go:build unix

package handoff

import "testing"

func TestACountedMoveEndsAlthoughOthersAreBusy(t *testing.T) {
	w := newWorld(t, 3)
	w.opt.Count = 2
	w.giver.busy[3] = true
	w.start()
	if o := w.given(); o.Err != nil || o.Moved != 2 {
		t.Errorf("given %+v, want 2 moved", o)
	}
	w.settle()
	w.taken()
	w.owned(1, 2)
}

func TestAMoveOfNothingIsNeverReverted(t *testing.T) {
	w, p := stalled(t, 3, 0)
	p.read(kindEnd)
	w.tick(defaultStall)
	p.write(kindGot, nil)
	wantErr(t, w.given().Err, errStalled)
	w.settle()
	p.read(kindLast) // and no REVERT before it
	p.eof()
	w.owned(3, 0)
}

func TestTheClockOfABatchStartsWhenItIsSent(t *testing.T) {
	w := newWorld(t, 1)
	w.giver.fenced = true
	a, b := pair(t)
	p := newPeer(t, b)
	w.give(a)
	p.read(kindHello)
	p.hello()
	w.giver.await(t, "fence", func() bool { return len(w.giver.fences) == 1 })
	w.clock.Add(int64(defaultStall)) // what the fence waits for may take long
	w.giver.do(t, func() { w.giver.fences[0]() })
	w.tick(defaultStall - 1)
	w.giver.do(t, func() {
		if w.giver.end.failure != nil {
			t.Errorf("%v before the batch was in transit for that time", w.giver.end.failure)
		}
	})
	w.tick(1)
	p.batch()
	p.read(kindRevert)
	p.close()
	wantErr(t, w.given().Err, errStalled)
	w.owned(1, 0)
}
