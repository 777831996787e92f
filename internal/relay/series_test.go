package relay

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
)

// kept runs a test with two machines that have subscribers of the topic "k", which has a history.
func kept(t *testing.T, test func(m *medium, a, b *machine)) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		synctest.Wait()
		a.subscribe("k")
		b.subscribe("k")
		test(m, a, b)
	})
}

// both checks what both machines have got.
func both(a, b *machine, want ...string) {
	a.t.Helper()
	a.wants(want...)
	b.wants(want...)
}

// TestPlaced: publications of all machines have one order and places, on all machines.
func TestPlaced(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1", "2")
		b.publish("k", "3")
		a.publish("k", "4")
		both(a, b, "k 1 @1:1", "k 2 @1:2", "k 3 @1:3", "k 4 @1:4")
		for i := range 20 {
			if err := a.local.Publish("k", 1, fmt.Append(nil, "a", i)); err != nil {
				t.Fatal(err)
			}
			if err := b.local.Publish("k", 1, fmt.Append(nil, "b", i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(a.got) != 40 || !slices.Equal(a.got, b.got) {
			t.Errorf("got %q and %q", a.got, b.got)
		}
		if x, y := a.Stats(), b.Stats(); x.Heard != 21 || y.Heard != 23 || x.Unplaced+y.Unplaced != 0 {
			t.Errorf("got %+v and %+v", x, y)
		}
		if n := a.past.ownCount + a.past.ownBytes + len(a.past.series["k"].own); n != 0 {
			t.Errorf("%d publications wait", n)
		}
	})
}

// TestPlacedWithoutSubscribers: where nobody listens, a publication is delivered at once, and kept.
func TestPlacedWithoutSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a := newMachine(t, m, 1)
		a.publish("k", "1", "2")
		a.wants("k 1", "k 2")
		if len(a.past.series) != 0 || a.past.ownCount != 0 {
			t.Errorf("%d topics, %d publications wait", len(a.past.series), a.past.ownCount)
		}
		a.subscribe("k")
		a.publish("k", "3")
		a.wants("k 3 @1:3")
	})
}

// TestHole: what the backplane has lost is read from the history, and comes in its order.
func TestHole(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		b.plane.deaf = 2
		a.publish("k", "2", "3", "4")
		b.wants("k 1 @1:1")
		pass(holePause)
		b.wants("k 2 @1:2", "k 3 @1:3", "k 4 @1:4")
		a.wants("k 1 @1:1", "k 2 @1:2", "k 3 @1:3", "k 4 @1:4")
		a.plane.deaf = 1 // its own
		a.publish("k", "5")
		pass(holePause)
		both(a, b, "k 5 @1:5")
		if got := b.Stats(); got.Gaps != 0 || got.Reads != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestHoleTrimmed: what the history does not have any more is a gap.
func TestHoleTrimmed(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		b.plane.setCut(true)
		for i := range 15 {
			a.publish("k", fmt.Sprint(i+2))
		}
		b.plane.setCut(false)
		pass(time.Second)
		if want := []string{"k 1 @1:1", "k gap 5", "k 7 @1:7"}; len(b.got) != 12 || !slices.Equal(b.got[:3], want) {
			t.Errorf("got %q", b.got)
		}
		if got := b.Stats(); got.Gaps != 1 || got.Missed != 5 || got.Heard != 11 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestHistoryOutage: in an outage, own publications are delivered at once. They get places later, are not delivered
// again, and reach the others; what the others have said comes as well.
func TestHistoryOutage(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		a.plane.set(&a.plane.stuck, true)
		a.publish("k", "2")
		a.wants()
		a.plane.setCut(true)
		a.wants("k 2")
		a.publish("k", "3")
		b.publish("k", "4")
		a.wants("k 3")
		b.wants("k 4 @1:2")
		pass(time.Minute)
		a.plane.setCut(false)
		a.wants("k 4 @1:2")
		a.plane.release()
		pass(time.Second)
		a.wants()
		b.wants("k 2 @1:3", "k 3 @1:4")
		a.publish("k", "5")
		both(a, b, "k 5 @1:5")
		if got := a.Stats(); got.Gaps != 0 || got.Unplaced != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestHistoryStuck: a history that does not answer is noticed within a second, and the order stays.
func TestHistoryStuck(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.plane.set(&a.plane.stuck, true)
		a.publish("k", "1", "2")
		a.wants()
		pass(localAfter + holePause)
		a.wants("k 1", "k 2")
		a.publish("k", "3")
		a.wants("k 3")
		pass(time.Second)
		a.plane.release()
		pass(time.Second)
		a.publish("k", "4")
		a.wants("k 4 @1:4")
		b.wants("k 1 @1:1", "k 2 @1:2", "k 3 @1:3", "k 4 @1:4")
		a.plane.set(&a.plane.stuck, true)
		a.publish("k", "5")
		a.wants() // it waits again
	})
}

// TestHistoryFlushed: when the history is lost, a new one begins, and nobody misses anything who was listening.
func TestHistoryFlushed(t *testing.T) {
	kept(t, func(m *medium, a, b *machine) {
		a.publish("k", "1", "2")
		m.flush()
		a.publish("k", "3")
		both(a, b, "k 1 @1:1", "k 2 @1:2", "k 3 @2:1")
		b.plane.setCut(true)
		m.flush()
		a.publish("k", "4", "5")
		b.plane.setCut(false)
		pass(time.Second)
		a.wants("k 4 @3:1", "k 5 @3:2")
		b.wants("k gap 0", "k 4 @3:1", "k 5 @3:2")
	})
}

// TestEarlierHistory: a server that returns with what another one had said in the meantime is in its own epoch. What was
// delivered does not come again.
func TestEarlierHistory(t *testing.T) {
	kept(t, func(m *medium, a, b *machine) {
		a.publish("k", "1", "2")
		b.publish("k", "3")
		both(a, b, "k 1 @1:1", "k 2 @1:2", "k 3 @1:3")
		a.plane.setCut(true)
		b.plane.setCut(true)
		m.mu.Lock()
		m.epochs++
		m.log("k").epoch = m.epochs
		m.mu.Unlock()
		a.publish("k", "4")
		a.plane.setCut(false)
		b.plane.setCut(false)
		pass(2 * time.Second)
		a.publish("k", "5")
		a.wants("k 4", "k gap 0", "k 5 @2:5")
		b.wants("k gap 0", "k 4 @2:4", "k 5 @2:5")
	})
}

// TestLostWrites: when a server has lost what was delivered, a new epoch begins, of which everybody learns.
func TestLostWrites(t *testing.T) {
	for name, more := range map[string][]string{"lower": nil, "others": {"x", "y", "z"}} {
		t.Run(name, func(t *testing.T) {
			kept(t, func(m *medium, a, b *machine) {
				a.publish("k", "1", "2", "3")
				both(a, b, "k 1 @1:1", "k 2 @1:2", "k 3 @1:3")
				a.plane.setCut(true)
				b.plane.setCut(true)
				m.lose("k", 2)
				c := newMachine(a.t, m, 3)
				c.publish("k", more...)
				a.plane.setCut(false)
				b.plane.setCut(false)
				pass(time.Second)
				both(a, b, "k gap 0")
				a.publish("k", "4")
				both(a, b, fmt.Sprintf("k 4 @2:%d", 2+len(more)))
				if n := a.Stats().Renewed + b.Stats().Renewed; n == 0 {
					t.Errorf("nobody has begun an epoch")
				}
			})
		})
	}
}

// TestRenewed: a loss that does not concern a machine is no gap there.
func TestRenewed(t *testing.T) {
	kept(t, func(m *medium, a, b *machine) {
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		b.plane.setCut(true)
		if err := a.plane.Renew("k", 1, func(_ backplane.Page, _ error) {}); err != nil {
			t.Fatal(err)
		}
		a.publish("k", "2")
		b.plane.setCut(false)
		pass(time.Second)
		both(a, b, "k 2 @2:2")
	})
}

// TestOmitted: publications for which there is no room are delivered here, and the others learn how many.
func TestOmitted(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		a.plane.set(&a.plane.full, true)
		a.publish("k", "2", "3")
		a.plane.set(&a.plane.full, false)
		pass(time.Second)
		a.wants("k 1 @1:1", "k 2", "k 3")
		b.wants("k 1 @1:1", "k gap 2")
		a.plane.set(&a.plane.stuck, true)
		large := strings.Repeat("x", 1<<20)
		for range 20 {
			a.publish("k", large)
		}
		pass(2 * time.Second)
		if a.past.ownBytes > 2*maxOwnBytes || len(a.got) != 20 {
			t.Errorf("%d bytes wait, %d were delivered", a.past.ownBytes, len(a.got))
		}
		a.plane.release()
		pass(time.Second)
		if n := b.Stats().Missed; n != 2+20-uint64(len(b.got)-1) || len(b.got) < 6 {
			t.Errorf("got %d messages, %d missed", len(b.got), n)
		}
		if a.past.ownCount != 0 || a.past.ownBytes != 0 {
			t.Errorf("%d publications wait", a.past.ownCount)
		}
	})
}

// TestRefusedForGood: what the history will never take is delivered here, in order, and the others learn of it.
func TestRefusedForGood(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		a.plane.set(&a.plane.never, true)
		a.publish("k", "2", "3")
		a.plane.set(&a.plane.never, false)
		a.publish("k", "4")
		pass(time.Second)
		a.wants("k 1 @1:1", "k 2", "k 3", "k 4 @1:2")
		b.wants("k 1 @1:1", "k 4 @1:2", "k gap 2")
		if got := a.Stats(); got.Refused != 2 || a.past.ownCount != 0 {
			t.Errorf("got %+v, %d wait", got, a.past.ownCount)
		}
	})
}

// TestRecall: a page comes after everything up to its end, and ends where the live publications begin.
func TestRecall(t *testing.T) {
	kept(t, func(m *medium, a, b *machine) {
		a.publish("k", "1", "2", "3", "4")
		a.wants("k 1 @1:1", "k 2 @1:2", "k 3 @1:3", "k 4 @1:4")
		at := func(epoch, offset uint64) broker.Place { return broker.Place{Epoch: epoch, Offset: offset} }
		for _, tt := range []struct {
			q    broker.Query
			want string
		}{
			{broker.Query{After: at(1, 2)}, "k page 1:2 3 4"},
			{broker.Query{After: at(1, 4)}, "k page 1:4"},
			{broker.Query{After: at(1, 5)}, "k page 1:4 lost"},
			{broker.Query{After: at(9, 2)}, "k page 1:4 lost"},
			{broker.Query{}, "k page 1:4"},
			{broker.Query{Last: 2}, "k page 1:2 3 4"},
			{broker.Query{Last: 99}, "k page 1:0 1 2 3 4"},
			{broker.Query{After: at(1, 0), Bytes: 45}, "k page 1:0 1 2 more"},
		} {
			tt.q.Topic = "k"
			a.recall(tt.q)
			synctest.Wait()
			a.wants(tt.want)
		}
		b.publish("k", "5", "6", "7", "8", "9", "10", "11", "12")
		a.got = nil
		a.recall(broker.Query{Topic: "k", After: at(1, 1)})
		synctest.Wait()
		a.wants("k page 1:12 lost")
		if a.past.recalls != 0 {
			t.Errorf("%d queries wait", a.past.recalls)
		}
	})
}

// TestRecallInTraffic: wherever a page comes, it ends with what came before it, and nothing is missing after it.
func TestRecallInTraffic(t *testing.T) {
	for seed := range 30 {
		kept(t, func(_ *medium, a, b *machine) {
			for i := range 8 {
				if err := b.local.Publish("k", 1, fmt.Append(nil, i+1)); err != nil {
					t.Fatal(err)
				}
				if i == seed%8 {
					a.recall(broker.Query{Topic: "k", Last: 100})
				}
				if (seed>>i)&1 == 1 {
					<-time.After(time.Millisecond)
				}
			}
			pass(time.Second)
			page := slices.IndexFunc(a.got, func(s string) bool { return strings.Contains(s, "page") })
			if page < 0 || len(a.got) != 9 {
				t.Fatalf("got %q", a.got)
			}
			before := strings.Join(a.got[:page], " ")
			var want []string
			for i := range page {
				want = append(want, fmt.Sprintf("k %d @1:%d", i+1, i+1))
			}
			text := "k page 1:0"
			for i := range page {
				text += fmt.Sprint(" ", i+1)
			}
			if before != strings.Join(want, " ") || a.got[page] != text {
				t.Errorf("got %q", a.got)
			}
		})
	}
}

// TestRecallInAnOutage: a query is answered when the history is back.
func TestRecallInAnOutage(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		a.plane.setCut(true)
		a.recall(broker.Query{Topic: "k", Last: 5})
		b.publish("k", "2")
		pass(time.Second)
		a.wants()
		a.plane.setCut(false)
		pass(time.Second)
		a.wants("k 2 @1:2", "k page 1:0 1 2")
		a.plane.setCut(true)
		a.recall(broker.Query{Topic: "k", Last: 5})
		pass(2 * recallLimit)
		a.plane.setCut(false)
		pass(time.Second)
		a.wants()
		if got := a.Stats(); got.RecallsLost != 1 || a.past.recalls != 0 {
			t.Errorf("got %+v, %d wait", got, a.past.recalls)
		}
	})
}

// TestRecallIsReadAgain: a page that could not be read is read again soon, also if nothing else happens on the topic.
func TestRecallIsReadAgain(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		pass(time.Minute) // nothing else is due
		a.plane.set(&a.plane.away, true)
		a.recall(broker.Query{Topic: "k", Last: 5})
		synctest.Wait()
		a.plane.set(&a.plane.away, false)
		pass(2 * owedPause)
		a.wants("k page 1:0 1")
	})
}

// TestSucceedWithHistory: the next program goes on where this one was, with what waits, and nothing comes twice.
func TestSucceedWithHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.subscribe("k")
		b.subscribe("k")
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		a.plane.stuck = true
		a.publish("k", "2") // lost in the queue of the backplane
		a.Suspend(0)
		b.publish("k", "3")
		a.publish("k", "4")
		if slices.Contains(a.Topics(), "k") {
			t.Error("a bridge listens to a topic with a history")
		}
		a2 := newMachineWith(t, m, Config{Node: 1, Succeeds: true}, a.AppendState(nil))
		a.plane.set(&a.plane.cut, true)
		a2.subscribe("k")
		a2.wants()
		a2.CatchUp()
		pass(time.Second)
		b.publish("k", "5")
		a2.wants("k 3 @1:2", "k 2 @1:3", "k 4 @1:4", "k 5 @1:5")
		b.wants("k 3 @1:2", "k 2 @1:3", "k 4 @1:4", "k 5 @1:5")
		a.wants()
		if a2.past.ownCount != 0 {
			t.Errorf("%d publications wait", a2.past.ownCount)
		}
	})
}

// TestResumeWithHistory: a program that was not replaced goes on.
func TestResumeWithHistory(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		both(a, b, "k 1 @1:1")
		a.Suspend(0)
		a.publish("k", "2")
		b.publish("k", "3")
		pass(5 * time.Second)
		a.wants()
		a.Resume()
		pass(time.Second)
		both(a, b, "k 3 @1:2", "k 2 @1:3")
	})
}

// TestChurnWithHistory: a topic that is left and followed again begins where it is then.
func TestChurnWithHistory(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "1")
		b.wants("k 1 @1:1")
		b.interest.Set("k", false)
		pass(keepTopic + time.Second)
		a.publish("k", "2", "3")
		b.subscribe("k")
		b.wants()
		a.publish("k", "4")
		b.wants("k 4 @1:4")
		if len(b.past.series) != 1 || b.past.reads != 0 {
			t.Errorf("%d topics, %d reads", len(b.past.series), b.past.reads)
		}
	})
}

// FuzzKept: any bytes are a kept publication or an error, and one means the same after it was written.
func FuzzKept(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendKept(nil, &entry{
		id: identity{1, 300}, previous: 298, m: broker.Kept{Opcode: 1, Except: 5, Payload: []byte("x")},
	}))
	f.Add([]byte("@12345678\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseKept(b)
		if err != nil {
			return
		}
		again, err := parseKept(appendKept(nil, &e))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("got %+v, %v, want %+v", again, err, e)
		}
	})
}
