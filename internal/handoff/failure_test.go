//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWhatDoesNotFitFreezesNothing(t *testing.T) {
	tests := []struct {
		name    string
		count   int
		version uint16
		free    int
		want    error
	}{
		{"no common version", -1, 3, 1000, errVersion},
		{"too few descriptors", -1, 1, 9, errRoom},
		{"too few descriptors for the count", 8, 1, 7, errRoom},
		{"enough descriptors for the count", 8, 1, 8, nil},
		{"no descriptors for a count of 0", 0, 1, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 10)
			w.opt.Count = tt.count
			w.takerHello.StateMin, w.takerHello.StateMax = tt.version, tt.version
			w.taker.free = tt.free
			w.start()
			o := w.given()
			wantErr(t, o.Err, tt.want)
			if tt.want == nil {
				w.settle()
				w.taken()
				return
			}
			if o := w.taken(); o.Err == nil {
				t.Error("the taker was told of no error")
			} else if tt.want == errVersion {
				wantErr(t, o.Err, errVersion)
			}
			w.settle() // has no effect
			w.owned(10, 0)
			if !slices.Equal(w.giver.events, []string{"given"}) {
				t.Errorf("events %v, want given only", w.giver.events)
			}
		})
	}
}

func TestBatchesUnderWayThawWhenTheTakerDies(t *testing.T) {
	for acks := range window + 1 {
		t.Run(fmt.Sprint(acks, " answered"), func(t *testing.T) {
			w := newWorld(t, window*batchSize+1)
			a, b := pair(t)
			p := newPeer(t, b)
			w.give(a)
			p.read(kindHello)
			p.hello()
			for no := uint32(1); no <= window; no++ {
				if got := p.batch(); got != no {
					t.Fatalf("batch %d, want %d", got, no)
				}
			}
			w.giver.do(t, func() { // for a connection that is lost with the taker, or thaws
				w.giver.Deliver(message(batchSize*window, "held"))
			})
			for no := range uint32(acks) {
				p.ack(no + 1)
			}
			p.close()
			o := w.given()
			wantErr(t, o.Err, errBroken)
			moved := acks * batchSize
			if o.Moved != moved || o.Staying != window*batchSize+1-moved {
				t.Errorf("given %+v, want %d moved", o, moved)
			}
			w.owned(window*batchSize+1-moved, 0)
			if got := w.giver.said[batchSize*window]; acks < window && !slices.Equal(got, []string{"held"}) {
				t.Errorf("after the thaw: %v, want the message that was held", got)
			}
			w.settle()
		})
	}
}

func TestATakerThatDiesAfterwardsIsNoFailure(t *testing.T) {
	w := newWorld(t, 1)
	a, b := pair(t)
	p := newPeer(t, b)
	w.give(a)
	p.read(kindHello)
	p.hello()
	p.ack(p.batch())
	p.read(kindEnd)
	p.write(kindGot, nil)
	if o := w.given(); o.Err != nil {
		t.Error(o.Err)
	}
	p.close()
	w.giver.await(t, "end", func() bool { return w.giver.end.role == roleDone })
	w.settle()
	w.owned(0, 0)
}

func TestARefusalReturnsEverything(t *testing.T) {
	const n = 500
	w := newWorld(t, n)
	admitted := 0
	w.taker.onAdmit = func([]uint64) error {
		if admitted++; admitted == 4 {
			return errors.New("no memory")
		}
		return nil
	}
	stop, ended := make(chan struct{}), make(chan int)
	w.start()
	go func() { // ends with stop
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- i
				return
			default:
			}
			w.giver.do(t, func() {
				for id := uint64(1); id <= n; id++ {
					w.giver.Deliver(message(id, fmt.Sprint(i)))
				}
			})
		}
	}()
	o := w.given()
	close(stop)
	rounds := <-ended
	wantErr(t, o.Err, errRefused)
	if !strings.Contains(o.Err.Error(), "no memory") {
		t.Errorf("error %v, want the reason", o.Err)
	}
	if o.Moved != 3*batchSize || o.Returned != o.Moved || o.Staying != n-3*batchSize {
		t.Errorf("given %+v, want %d moved and returned", o, 3*batchSize)
	}
	if o := w.taken(); o.Err == nil || o.Moved != 3*batchSize || o.Returned != o.Moved {
		t.Errorf("taken %+v", o)
	}
	w.owned(n, 0)
	for id := uint64(1); id <= n; id++ {
		if got := len(w.giver.said[id]) + len(w.taker.said[id]); got != rounds {
			t.Errorf("connection %d: %d messages, want %d", id, got, rounds)
		}
		for _, said := range [][]string{w.giver.said[id], w.taker.said[id]} {
			if !slices.IsSortedFunc(said, func(a, b string) int { return atoi(t, a) - atoi(t, b) }) {
				t.Errorf("connection %d: out of order: %v", id, said)
			}
		}
	}
	if len(w.giver.astray)+len(w.taker.astray) > 0 {
		t.Errorf("%d and %d messages went astray", len(w.giver.astray), len(w.taker.astray))
	}
	w.settle() // of no effect
}

func TestARefusalEndsACountedMoveWhereItIs(t *testing.T) {
	w := newWorld(t, 400)
	w.opt.Count = 300
	admitted := 0
	w.taker.onAdmit = func([]uint64) error {
		if admitted++; admitted == 3 {
			return errors.New("no memory")
		}
		return nil
	}
	w.start()
	o := w.given()
	wantErr(t, o.Err, errRefused)
	if o.Moved != 2*batchSize || o.Returned != 0 {
		t.Errorf("given %+v, want %d moved, none returned", o, 2*batchSize)
	}
	w.giver.do(t, func() { w.giver.Deliver(message(1, "after")) })
	w.settle()
	w.taken()
	w.owned(400-2*batchSize, 2*batchSize)
	if got := w.taker.said[1]; !slices.Equal(got, []string{"after"}) {
		t.Errorf("connection 1 got %v", got)
	}
}

func TestAReturnThatIsRefusedEnds(t *testing.T) {
	w := newWorld(t, 300)
	admitted := 0
	w.taker.onAdmit = func([]uint64) error {
		if admitted++; admitted == 3 {
			return errors.New("no memory")
		}
		return nil
	}
	w.giver.onAdmit = func([]uint64) error { return errors.New("none here either") }
	w.start()
	o := w.given()
	wantErr(t, o.Err, errRefused)
	if o.Moved != 2*batchSize || o.Returned != 0 {
		t.Errorf("given %+v", o)
	}
	wantErr(t, w.taken().Err, errRefused)
	w.owned(300-2*batchSize, 2*batchSize)
}

// stalled returns a giver with n connections, and a peer that has not answered its batches.
func stalled(t *testing.T, n, count int) (*world, *peer) {
	t.Helper()
	w := newWorld(t, n)
	w.opt.Count = count
	a, b := pair(t)
	p := newPeer(t, b)
	w.give(a)
	p.read(kindHello)
	p.hello()
	if count >= 0 {
		n = min(n, count)
	}
	for range min(window, (n+batchSize-1)/batchSize) {
		p.batch()
	}
	return w, p
}

func TestATakerThatHangsIsAskedAndThenStuck(t *testing.T) {
	w, p := stalled(t, 300, -1)
	w.tick(defaultStall - 1)
	w.giver.do(t, func() {
		if w.giver.end.failure != nil {
			t.Error("failed before its time")
		}
	})
	w.tick(1)
	p.read(kindRevert)
	w.tick(defaultStall - 1)
	if w.giver.stuck != 0 {
		t.Error("stuck before its time")
	}
	w.tick(1)
	w.giver.do(t, func() {
		thawed := func(e string) bool { return strings.HasPrefix(e, "thaw") }
		if w.giver.stuck != 1 || slices.ContainsFunc(w.giver.events, thawed) {
			t.Errorf("events %v, want stuck and no thaw", w.giver.events)
		}
	})
	p.close()
	o := w.given()
	wantErr(t, o.Err, errStalled)
	w.owned(300, 0)
}

func TestAGreetingThatIsNotAnsweredIsStuck(t *testing.T) {
	w := newWorld(t, 1)
	a, b := pair(t)
	p := newPeer(t, b)
	w.give(a)
	p.read(kindHello)
	w.tick(defaultStall)
	if w.giver.stuck != 1 {
		t.Errorf("stuck %d times, want 1", w.giver.stuck)
	}
	p.close()
	wantErr(t, w.given().Err, errStalled)
	w.owned(1, 0)
}

func TestATakerThatMakesProgressIsNeverAsked(t *testing.T) {
	w, p := stalled(t, 20*batchSize, -1)
	for no := uint32(1); no <= 20; no++ {
		for range 9 {
			w.tick(defaultStall / 10)
		}
		p.ack(no)
		w.giver.await(t, "ack", func() bool { return w.giver.end.out.Moved == int(no)*batchSize })
		if no+window <= 20 {
			p.batch()
		}
	}
	p.read(kindEnd)
	p.write(kindGot, nil)
	if o := w.given(); o.Err != nil || w.giver.stuck != 0 {
		t.Errorf("given %+v, stuck %d", o, w.giver.stuck)
	}
	w.settle()
	p.read(kindLast)
}

func TestAStalledCountedMoveEndsWhereItIs(t *testing.T) {
	w, p := stalled(t, 300, 100)
	w.tick(defaultStall)
	p.read(kindEnd)
	p.ack(1) // it answers once, and hangs again
	w.giver.await(t, "ack", func() bool { return w.giver.end.out.Moved == batchSize })
	w.tick(defaultStall)
	w.tick(defaultStall)
	p.ack(2)
	p.write(kindGot, nil)
	o := w.given()
	wantErr(t, o.Err, errStalled)
	if o.Moved != 100 || w.giver.stuck == 0 {
		t.Errorf("given %+v, stuck %d", o, w.giver.stuck)
	}
	w.settle()
	p.read(kindLast) // and no second END before it
}

func TestAMoveThatStallsAtItsEndReturns(t *testing.T) {
	w := newWorld(t, 100)
	hold, held := make(chan struct{}), make(chan struct{})
	w.start()
	w.giver.await(t, "depart", func() bool { return len(w.giver.events) > 0 })
	w.taker.await(t, "batches", func() bool { return len(w.taker.live) == 100 })
	_ = w.taker.Post(func() { close(held); <-hold }) // delays the answer to END, unless that was sent already
	<-held
	w.giver.await(t, "end", func() bool { return w.giver.end.role >= roleEnding })
	w.tick(defaultStall)
	close(hold)
	o := w.given()
	if o.Err == nil { // END was answered before
		w.settle()
		w.taken()
		w.owned(0, 100)
		return
	}
	wantErr(t, o.Err, errStalled)
	if o.Moved != 100 || o.Returned != 100 {
		t.Errorf("given %+v", o)
	}
	w.taken()
	w.owned(100, 0)
}

func TestTheEndOfAMoveMayCrossARevert(t *testing.T) {
	t.Run("at the giver", func(t *testing.T) {
		w, p := stalled(t, 1, -1)
		p.ack(1)
		p.read(kindEnd)
		w.tick(defaultStall)
		p.read(kindRevert)
		p.write(kindGot, nil) // it was sent before REVERT arrived
		p.send(w, 1, 7)
		p.read(kindAck)
		p.write(kindEnd, nil)
		p.read(kindGot)
		p.write(kindLast, nil)
		o := w.given()
		wantErr(t, o.Err, errStalled)
		if o.Moved != 1 || o.Returned != 1 {
			t.Errorf("given %+v", o)
		}
		w.owned(1, 0)
	})
	t.Run("at the taker", func(t *testing.T) {
		w := newWorld(t, 0)
		a, b := pair(t)
		p := newPeer(t, a)
		w.take(b)
		p.hello()
		p.read(kindHello)
		p.send(w, 1, 1, 2)
		p.read(kindAck)
		p.write(kindEnd, nil)
		p.write(kindRevert, []byte("too slow"))
		p.read(kindGot)
		p.ack(p.batch())
		p.read(kindEnd)
		p.write(kindGot, nil)
		p.read(kindLast)
		if o := w.taken(); o.Err == nil || o.Err.Error() != "too slow" || o.Returned != 2 {
			t.Errorf("taken %+v", o)
		}
		w.owned(0, 0)
	})
}

func TestWhatADeadGiverSentIsAdopted(t *testing.T) {
	w := newWorld(t, 0)
	a, b := pair(t)
	p := newPeer(t, a)
	w.take(b)
	p.hello()
	p.read(kindHello)
	var admitted []uint64
	w.taker.onAdmit = func(ids []uint64) error { admitted = append(admitted, ids...); return nil }
	reading, dead := make(chan struct{}), make(chan struct{})
	_ = w.taker.Post(func() { close(reading); <-dead })
	<-reading
	p.send(w, 1, 1, 2)
	p.send(w, 2, 3)
	p.write(kindForward, message(2, "to two"))
	p.send(w, 3, 4, 5)
	p.close()
	close(dead)
	o := w.taken()
	wantErr(t, o.Err, errBroken)
	if o.Moved != 5 || !slices.Equal(admitted, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("taken %+v, admitted %v", o, admitted)
	}
	if got := w.taker.said[2]; !slices.Equal(got, []string{"to two"}) {
		t.Errorf("connection 2 got %v", got)
	}
	w.owned(0, 5)
	for _, e := range w.taker.events {
		if strings.HasPrefix(e, "thaw") {
			t.Errorf("events %v: a thaw", w.taker.events)
		}
	}
}

func TestAnUnsentBatchThawsAtOnceAfterAFailure(t *testing.T) {
	w := newWorld(t, 3*batchSize)
	a, b := pair(t)
	p := newPeer(t, b)
	w.give(a)
	p.read(kindHello)
	w.giver.do(t, func() { w.giver.fenced = true })
	p.hello()
	w.giver.await(t, "fences", func() bool { return len(w.giver.fences) == window })
	w.giver.do(t, func() { w.giver.fences[0]() })
	if no := p.batch(); no != 1 {
		t.Fatalf("batch %d", no)
	}
	w.clock.Add(int64(defaultStall))
	w.giver.do(t, w.giver.end.Tick)
	p.read(kindRevert)
	w.giver.do(t, func() {
		if len(w.giver.live) != 2*batchSize {
			t.Errorf("%d connections are live, want those of two batches", len(w.giver.live))
		}
		w.giver.fences[1]() // too late: it must not send a batch that has thawed
		w.giver.fences[2]()
	})
	p.nack(1, "no")
	p.write(kindEnd, nil)
	p.read(kindGot)
	p.write(kindLast, nil)
	wantErr(t, w.given().Err, errStalled)
	w.owned(3*batchSize, 0)
}

func TestTheFreezeIsTimed(t *testing.T) {
	w := newWorld(t, 1)
	w.taker.onAdmit = func([]uint64) error { w.clock.Add(int64(3 * time.Second)); return nil }
	w.start()
	w.given()
	w.settle()
	if o := w.taken(); o.Freeze != 3*time.Second {
		t.Errorf("freeze %v, want 3s", o.Freeze)
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
