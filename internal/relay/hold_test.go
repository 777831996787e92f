package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestOutageLongerThanHistory: what a machine has published in an outage does not push what others have published out of
// the history before it has read that, also if it can publish again before it listens. What was pushed out is a gap.
func TestOutageLongerThanHistory(t *testing.T) {
	for _, others := range []int{5, 30} {
		kept(t, func(_ *medium, a, b *machine) {
			a.publish("k", "0")
			both(a, b, "k 0 @1:1")
			b.plane.set(&b.plane.stuck, true)
			b.plane.setCut(true)
			for range 15 {
				b.publish("k", "b")
			}
			for range others {
				a.publish("k", "a")
			}
			b.mu.Lock()
			b.got = nil
			b.mu.Unlock()
			stall := make(chan struct{})
			b.plane.later(func() { <-stall })
			b.plane.release()
			b.plane.setCut(false)
			close(stall)
			pass(time.Second)
			heard, missed := 0, 0
			for _, one := range b.got {
				var n int
				if _, err := fmt.Sscanf(one, "k gap %d", &n); err == nil {
					missed += n
				} else if strings.HasPrefix(one, "k a @") {
					heard++
				} else {
					t.Errorf("got %s", one)
				}
			}
			if heard+missed != others || heard < 5 {
				t.Errorf("of %d publications %d are heard, and %d were told to be missing", others, heard, missed)
			}
			if n := len(a.got); n != others+15 {
				t.Errorf("the other machine has heard %d publications, want %d", n, others+15)
			}
			if n := b.past.ownCount + len(b.past.series["k"].hold.list); n != 0 {
				t.Errorf("%d publications wait", n)
			}
		})
	}
}

// TestPublishWithoutListening: a machine that can publish and not listen publishes.
func TestPublishWithoutListening(t *testing.T) {
	kept(t, func(_ *medium, a, b *machine) {
		a.publish("k", "0")
		both(a, b, "k 0 @1:1")
		b.plane.setCut(true)
		b.publish("k", "1", "2", "3")
		a.wants("k 1 @1:2", "k 2 @1:3", "k 3 @1:4")
		b.wants("k 1", "k 2", "k 3")
		b.plane.set(&b.plane.stuck, true)
		b.publish("k", "4", "5", "6")
		b.interest.Set("k", false)
		pass(keepTopic + time.Second)
		b.plane.release()
		pass(time.Second)
		a.wants("k 4 @1:5", "k 5 @1:6", "k 6 @1:7")
		if n := b.past.ownCount + len(b.past.series); n != 0 {
			t.Errorf("%d publications wait", n)
		}
	})
}
