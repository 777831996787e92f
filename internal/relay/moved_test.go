package relay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
)

// wander is machines with one topic that do not agree at which of two servers it is, as while a slot of a cluster moves
// without its keys.
type wander struct {
	*testing.T
	random   *rand.Rand
	machines []*machine
	said     []int
}

// say publishes the next message on a machine.
func (w *wander) say(i int) {
	w.said[i]++
	if err := w.machines[i].local.Publish("kall", 1, fmt.Appendf(nil, "%d.%d", i, w.said[i])); err != nil {
		w.Fatal(err)
	}
}

// check checks what a machine has got: of its own, everything; of the others, ascending numbers, and a gap wherever one
// is missing.
func (w *wander) check(own int) {
	k := w.machines[own]
	k.mu.Lock()
	defer k.mu.Unlock()
	last, told := make([]int, len(w.machines)), make([]bool, len(w.machines))
	for _, one := range k.got {
		if strings.Contains(one, "gap") {
			for i := range told {
				told[i] = true
			}
			continue
		}
		var from, n int
		if _, err := fmt.Sscanf(one, "kall %d.%d", &from, &n); err != nil {
			w.Errorf("machine %d: %s", own, one)
			continue
		}
		switch {
		case n == last[from]+1:
		case n <= last[from]:
			w.Errorf("machine %d: %s comes after %d", own, one, last[from])
		case from == own:
			w.Errorf("machine %d: %s of its own comes after %d", own, one, last[from])
		case last[from] > 0 && !told[from]:
			w.Errorf("machine %d: %s comes after %d, and no gap was told", own, one, last[from])
		}
		last[from], told[from] = n, false
	}
	for i, n := range w.said {
		if last[i] != n {
			w.Errorf("machine %d: the latest of machine %d is %d, want %d", own, i, last[i], n)
		}
	}
	if w.Failed() {
		w.Logf("machine %d: %q", own, k.got)
	}
	s := k.past.series["kall"]
	if k.past.ownCount != 0 || k.past.ownBytes != 0 || k.past.reads != 0 || len(s.ahead) > 0 || s.hole.planned {
		w.Errorf("machine %d: %d publications wait, %d are ahead, a hole: %v", own, k.past.ownCount, len(s.ahead), s.hole)
	}
}

// some lets machines talk, and move.
func (w *wander) some() {
	for range 80 {
		i := w.random.IntN(len(w.machines))
		p := w.machines[i].plane
		switch w.random.IntN(20) {
		case 0, 1:
			p.move(w.random.IntN(2))
		case 2:
			p.set(&p.stuck, true)
		case 3, 4:
			p.release()
		default:
			w.say(i)
		}
		if w.random.IntN(3) == 0 {
			pass(time.Duration(w.random.IntN(400)) * time.Millisecond)
		}
	}
}

// TestMovedWithoutKeys: while machines do not agree at which server a topic is, and the history is at one of them or at
// the other, a machine hears all that is published there, nothing twice or in another order, and is told of what it misses.
func TestMovedWithoutKeys(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			m := new(medium)
			w := &wander{T: t, random: rand.New(rand.NewPCG(seed, 2)), said: make([]int, 3)}
			for i := range w.said {
				w.machines = append(w.machines, newMachine(t, m, uint64(i+1)))
				w.machines[i].subscribe("kall")
				w.say(i)
				synctest.Wait()
			}
			pass(time.Second)
			w.some()
			for _, k := range w.machines {
				k.plane.move(1)
				k.plane.release()
			}
			for range 3 {
				pass(5 * time.Second)
				for i := range w.machines {
					w.say(i)
				}
			}
			pass(5 * time.Second)
			for i := range w.machines {
				w.check(i)
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestLostElsewhere: what a machine has published at a server that others do not listen to is a gap there, as soon as they
// hear of it again.
func TestLostElsewhere(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		b.publish("k", "1")
		b.plane.move(1)
		b.publish("k", "2")
		b.plane.move(0)
		b.publish("k", "3")
		pass(time.Second)
		b.publish("k", "4")
		a.wants("k 1 @1:1", "k gap 0", "k 3 @1:2", "k 4 @1:3")
		if got := a.Stats(); got.Gaps != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestBackAgain: a machine that has read the history at another server than the one it listens to goes back when
// something arrives from there, and goes on where it was.
func TestBackAgain(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		for range 20 { // more than are kept
			b.publish("k", "0")
		}
		b.publish("k", "1")
		a.mu.Lock()
		a.got = nil
		a.mu.Unlock()
		a.plane.move(1)
		b.publish("k", "2")
		a.plane.mu.Lock()
		a.plane.server = 0
		a.plane.mu.Unlock()
		b.publish("k", "3")
		pass(time.Second)
		b.publish("k", "4")
		a.wants("k gap 0", "k 2 @1:22", "k 3 @1:23", "k 4 @1:24")
		if reads := a.Stats().Reads; reads > 4 {
			t.Errorf("the history was read %d times", reads)
		}
	})
}

// TestLateFromEpochBefore: what comes late from an epoch that has ended is not delivered, and the history is read once.
func TestLateFromEpochBefore(t *testing.T) {
	kept(t, func(m *medium, a, b *machine) {
		b.publish("k", "1")
		m.flush()
		b.publish("k", "2")
		before := a.Stats().Reads
		late := appendKept(nil, &entry{id: identity{99, 1}, m: broker.Kept{Opcode: 1, Payload: []byte("late")}})
		a.Receive([]backplane.Message{{Topic: "k", Payload: late, At: backplane.Position{Epoch: 1, Offset: 2}}})
		pass(time.Minute)
		b.publish("k", "3")
		both(a, b, "k 1 @1:1", "k 2 @2:1", "k 3 @2:2")
		if reads := a.Stats().Reads - before; reads != 1 {
			t.Errorf("the history was read %d times", reads)
		}
	})
}
