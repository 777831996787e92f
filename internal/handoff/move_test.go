//go:build unix

package handoff

import (
	"fmt"
	"slices"
	"testing"
)

func TestACompleteMoveTakesAll(t *testing.T) {
	for _, n := range []int{0, 1, batchSize, batchSize + 1, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t, n)
			w.start()
			if o := w.given(); o.Err != nil || o.Moved != n || o.Staying != 0 || o.Returned != 0 {
				t.Errorf("given %+v, want %d moved", o, n)
			}
			w.taker.do(t, func() {
				if len(w.taker.taken) > 0 {
					t.Error("taken before Settle")
				}
			})
			w.settle()
			if o := w.taken(); o.Err != nil || o.Moved != n {
				t.Errorf("taken %+v, want %d moved", o, n)
			}
			w.owned(0, n)
			order(t, w.giver.events, n)
		})
	}
}

// order checks the order of a giver's events: Depart, batches, Stay, Given.
func order(t *testing.T, events []string, n int) {
	t.Helper()
	frozen, released := 0, 0
	for i, e := range events {
		size, ok := 0, false
		switch {
		case i == 0:
			ok = e == "depart true"
		case i == len(events)-2:
			ok = e == "stay" && frozen == n && released == n
		case i == len(events)-1:
			ok = e == "given"
		default:
			if _, err := fmt.Sscanf(e, "freeze %d", &size); err == nil {
				frozen += size
				ok = size > 0 && frozen-released <= window*batchSize
			} else if _, err := fmt.Sscanf(e, "release %d", &size); err == nil {
				released += size
				ok = released <= frozen
			}
		}
		if !ok {
			t.Fatalf("event %d is %q of %v", i, e, events)
		}
	}
}

func TestACountedMoveTakesExactlyThat(t *testing.T) {
	for _, n := range []int{0, 1, 64, 65, 150, 200, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t, 200)
			w.opt.Count = n
			w.start()
			n := min(n, 200)
			if o := w.given(); o.Err != nil || o.Moved != n || o.Staying != 200-n {
				t.Errorf("given %+v, want %d moved, %d staying", o, n, 200-n)
			}
			w.settle()
			w.taken()
			w.owned(200-n, n)
			if w.giver.events[0] != "depart false" {
				t.Errorf("events %v, want depart false", w.giver.events)
			}
		})
	}
}

func TestMessagesFindTheirConnection(t *testing.T) {
	w := newWorld(t, 2)
	w.giver.busy[2] = true
	w.giver.fenced = true
	w.start()
	w.giver.await(t, "freeze", func() bool { return len(w.giver.fences) == 1 })
	w.giver.do(t, func() {
		for i, tt := range []struct {
			id   uint64
			want bool
		}{{1, true}, {2, false}, {3, false}} {
			if got := w.giver.end.Forward(tt.id, message(tt.id, "under way")); got != tt.want {
				t.Errorf("case %d: Forward %v, want %v", i, got, tt.want)
			}
		}
		for i := range 5 {
			m := message(1, fmt.Sprint(i))
			w.giver.end.Forward(1, m)
			clear(m) // the caller may reuse it
		}
		w.giver.fenced = false
		w.giver.fences[0]()
	})
	w.giver.await(t, "release", func() bool { return slices.Contains(w.giver.events, "release 1") })
	w.giver.do(t, func() {
		for i := 5; i < 9; i++ {
			if !w.giver.end.Forward(1, message(1, fmt.Sprint(i))) {
				t.Error("a connection that is gone is not known")
			}
		}
		w.giver.Deliver(message(2, "live"))
		w.giver.busy[2] = false
		w.giver.end.Resume()
	})
	w.given()
	w.giver.do(t, func() { w.giver.Deliver(message(1, "9")) }) // between Given and Settle
	w.settle()
	w.taken()
	w.owned(0, 2)
	want := []string{"under way", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	if got := w.taker.said[1]; !slices.Equal(got, want) {
		t.Errorf("connection 1 got %v, want %v", got, want)
	}
	if got := w.giver.said[2]; !slices.Equal(got, []string{"live"}) || len(w.taker.astray) > 0 {
		t.Errorf("connection 2 got %v, astray %v", got, w.taker.astray)
	}
	w.giver.do(t, func() {
		if w.giver.end.Forward(1, message(1, "too late")) {
			t.Error("a message was taken after Settle, and nobody will have it")
		}
	})
}

func TestForwardedMessagesNeverOvertake(t *testing.T) {
	const n, most = 300, 100 // without a limit, messages come faster than one processor moves connections
	w := newWorld(t, n)
	stop, ended := make(chan struct{}), make(chan int, 1)
	w.start()
	go func() { // ends with stop; sends messages, as a primary does while connections leave
		for i := 0; ; i++ {
			if i == most {
				<-stop
			}
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
			w.taker.do(t, func() {})
		}
	}()
	w.given()
	close(stop)
	rounds := <-ended
	w.settle()
	w.taken()
	for id := uint64(1); id <= n; id++ {
		got := append(slices.Clone(w.giver.said[id]), w.taker.said[id]...)
		for i, s := range got {
			if s != fmt.Sprint(i) {
				t.Fatalf("connection %d: message %d is %s", id, i, s)
			}
		}
		if len(got) != rounds {
			t.Fatalf("connection %d: %d messages, want %d", id, len(got), rounds)
		}
	}
	if len(w.giver.astray)+len(w.taker.astray) > 0 {
		t.Errorf("astray: %v %v", w.giver.astray, w.taker.astray)
	}
}

func TestABatchWaitsForItsFence(t *testing.T) {
	w := newWorld(t, 3*batchSize)
	a, b := pair(t)
	p := newPeer(t, b)
	w.giver.fenced = true
	w.give(a)
	p.read(kindHello)
	p.hello()
	w.giver.await(t, "window", func() bool { return len(w.giver.fences) == window })
	for no := uint32(1); no <= window; no++ {
		w.giver.do(t, func() {
			for _, o := range w.giver.end.ch.waiting() {
				t.Errorf("kind %d is queued before the fence", o)
			}
			w.giver.fences[no-1]()
		})
		if got := p.batch(); got != no {
			t.Fatalf("batch %d, want %d", got, no)
		}
		for i, parcel := range w.giver.parcels() {
			if want := i < int(no); parcel.sent != want {
				t.Errorf("batch %d: sent %v after %d fences", i+1, parcel.sent, no)
			}
		}
	}
	p.ack(1)
	p.ack(2)
	p.ack(3)
	p.read(kindEnd)
	p.write(kindGot, nil)
	w.given()
	w.settle()
	p.read(kindLast)
}

func TestNothingFreezesBeforeThePositionIsThere(t *testing.T) {
	w := newWorld(t, 5)
	w.giver.position, w.taker.position = 10, 12
	w.giver.slow = true
	w.start()
	for at := uint64(10); at <= 12; at++ {
		w.giver.await(t, "sync", func() bool { return len(w.giver.syncs) == int(min(at, 11))-9 })
		w.giver.do(t, func() {
			if at < 12 && slices.ContainsFunc(w.giver.events, func(e string) bool { return e != "sync" }) {
				t.Errorf("at %d: events %v", at, w.giver.events)
			}
			w.giver.position = at + 1
			if at < 12 {
				w.giver.syncs[at-10]()
			}
		})
	}
	w.given()
	w.settle()
	w.taken()
	w.owned(0, 5)
}

func TestStragglersMoveWhenTheyAreReady(t *testing.T) {
	w := newWorld(t, 100)
	for id := uint64(1); id <= 10; id++ {
		w.giver.busy[id] = true
	}
	w.start()
	w.giver.await(t, "release", func() bool { return w.giver.end.out.Moved == 90 })
	w.tick(100 * defaultStall) // nothing is in transit, so the other side is not stuck
	w.giver.do(t, func() {
		if moved, left := w.giver.end.Moved(); moved != 90 || left != 10 {
			t.Errorf("moved %d, left %d, want 90, 10", moved, left)
		}
		for id := uint64(1); id <= 4; id++ {
			delete(w.giver.busy, id)
		}
		w.giver.end.Resume()
	})
	w.giver.await(t, "release", func() bool { return w.giver.end.out.Moved == 94 })
	w.giver.do(t, func() {
		if count(w.giver.events, "stay") > 0 {
			t.Error("the giver stays, and six are not ready")
		}
		clear(w.giver.busy)
		w.giver.end.Resume()
	})
	if o := w.given(); o.Err != nil || o.Moved != 100 {
		t.Errorf("given %+v", o)
	}
	w.settle()
	w.taken()
	w.owned(0, 100)
}

func TestStragglersKeepToTheCount(t *testing.T) {
	w := newWorld(t, 100)
	w.opt.Count = 50
	for id := uint64(31); id <= 100; id++ {
		w.giver.busy[id] = true
	}
	w.start()
	w.giver.await(t, "release", func() bool { return w.giver.end.out.Moved == 30 })
	w.giver.do(t, func() { clear(w.giver.busy); w.giver.end.Resume() })
	if o := w.given(); o.Err != nil || o.Moved != 50 {
		t.Errorf("given %+v, want 50 moved", o)
	}
	w.settle()
	w.taken()
	w.owned(50, 50)
}

func TestTheAckIsWrittenBeforeAnythingIsRead(t *testing.T) {
	w := newWorld(t, 0)
	a, b := pair(t)
	p := newPeer(t, a)
	w.taker.onStart = func() { // without the ACK this would block
		p.mu.Lock()
		defer p.mu.Unlock()
		f, err := p.conn.Read()
		if err != nil || f.Kind != kindAck {
			t.Errorf("in Start: kind %d, %v, want an ACK", f.Kind, err)
		}
	}
	w.take(b)
	p.hello()
	p.read(kindHello)
	p.send(w, 1, 1, 2, 3)
	p.write(kindEnd, nil)
	w.taker.await(t, "start", func() bool { return w.taker.end.role == roleSettling })
	p.read(kindGot)
	p.write(kindLast, nil)
	if o := w.taken(); o.Err != nil || o.Moved != 3 {
		t.Errorf("taken %+v", o)
	}
	w.owned(0, 3)
}
