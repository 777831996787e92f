package presence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/broker"
)

// world is the model of several machines: who is subscribed where, and what the clients of each were told.
type world struct {
	*store
	nodes []*node
	here  []map[at]bool // by machine: the members that are subscribed
	seen  []map[at]bool // by machine: the members by the events
}

// at is a member in a topic.
type at struct{ topic, id string }

// worldTopics are in two parts of the store.
var worldTopics = []string{"ta", "tb"}

// idsOf returns the members of a topic.
func idsOf(topic string, members map[at]bool) (ids []string) {
	for m := range members {
		if m.topic == topic {
			ids = append(ids, m.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// observer is a member of each machine that stays: so its clients are told everything.
func observer(i int) string { return fmt.Sprint("observer ", i) }

// quiesce waits until nothing happens any more, and checks what everybody knows.
func (w *world) quiesce(rt *rapid.T) {
	<-time.After(40 * time.Second)
	synctest.Wait()
	truth := make(map[at]bool)
	for _, members := range w.here {
		maps.Copy(truth, members)
	}
	for i, n := range w.nodes {
		for _, topic := range worldTopics {
			if got, partial := n.who(topic); !slices.Equal(got, idsOf(topic, truth)) || partial {
				rt.Fatalf("machine %d, %s: got %q, %v, want %q", i, topic, got, partial, idsOf(topic, truth))
			}
		}
		n.office.mu.Lock()
		for _, e := range n.office.events {
			f := strings.SplitN(e, " ", 3)
			if f[1] == "lost" {
				rt.Fatalf("machine %d: %s", i, e)
			}
			who := at{f[0], f[2][:strings.LastIndexByte(f[2], ' ')]}
			if w.seen[i] == nil {
				continue
			}
			if joined := f[1] == "1"; w.seen[i][who] == joined {
				rt.Fatalf("machine %d: wrong event %q in %q", i, e, n.office.events)
			}
			if f[1] == "1" {
				w.seen[i][who] = true
			} else {
				delete(w.seen[i], who)
			}
		}
		n.office.events = nil
		n.office.mu.Unlock()
		if w.seen[i] == nil {
			w.seen[i] = maps.Clone(truth)
		}
		if !maps.Equal(w.seen[i], truth) {
			rt.Fatalf("machine %d: by the events, there are %v, want %v", i, w.seen[i], truth)
		}
		for _, p := range n.parts {
			if left, n := p.left, len(p.former); left != 0 || n != 0 {
				rt.Fatalf("machine %d: %d rooms are not complete, %d former attendances", i, left, n)
			}
		}
	}
}

// undated is a test without a deadline, which does not exist in a bubble.
type undated struct{ testing.TB }

// TestShareModel: whatever happens to machines and their store, all of them know who is there in the end, and what
// their clients were told one after the other is true: nobody comes who was there, or leaves who was not.
func TestShareModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(undated{t}, func(rt *rapid.T) {
			w := &world{store: newStores(2)}
			for i := range 3 {
				n := join(t, w.door(), nil)
				w.nodes, w.here = append(w.nodes, n), append(w.here, make(map[at]bool))
				for _, topic := range worldTopics {
					w.here[i][at{topic, observer(i)}] = true
					n.enter(1, topic, observer(i))
				}
			}
			w.seen = make([]map[at]bool, 3)
			defer func() {
				for _, n := range w.nodes {
					n.kill()
				}
			}()
			w.quiesce(rt)
			machines, ids := rapid.IntRange(0, 2), rapid.SampledFrom([]string{"u", "v", "w"})
			topics := rapid.SampledFrom(worldTopics)
			for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
				for range rapid.IntRange(1, 8).Draw(rt, "steps") {
					w.step(rt, t, machines.Draw(rt, "machine"), at{topics.Draw(rt, "topic"), ids.Draw(rt, "member")})
				}
				for _, n := range w.nodes {
					n.door.set(func(d *door) { d.down, d.away, d.torn = false, 0, false })
				}
				w.quiesce(rt)
			}
		})
	})
}

// step does something.
func (w *world) step(rt *rapid.T, t *testing.T, i int, m at) {
	n := w.nodes[i]
	switch rapid.SampledFrom([]string{
		"enter", "enter", "leave", "leave", "wait", "down", "away", "up", "torn", "lose", "exec", "interrupted",
	}).Draw(rt, "step") {
	case "enter":
		w.here[i][m] = true
		n.enter(1, m.topic, m.id)
	case "leave":
		delete(w.here[i], m)
		n.leave(1, m.topic, m.id)
	case "wait":
		<-time.After(rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, 5 * time.Second}).Draw(rt, "time"))
	case "down":
		n.door.set(func(d *door) { d.down = true })
	case "away":
		n.door.set(func(d *door) { d.away = 1 + d.Part(m.topic) })
	case "up":
		n.door.set(func(d *door) { d.down, d.away, d.torn = false, 0, false })
	case "torn":
		n.door.set(func(d *door) { d.torn = true })
	case "interrupted":
		n.Interrupted([]string{m.topic})
	case "lose":
		for _, n := range w.nodes { // whoever can reach it notices
			n.door.set(func(d *door) { d.down, d.away, d.torn = false, 0, false })
		}
		<-time.After(8 * time.Second)
		w.losePart(w.Part(m.topic))
		<-time.After(12 * time.Second)
	case "exec":
		synctest.Wait()
		n.Suspend()
		state := n.AppendState(nil)
		n.Resume()
		was := n.door.down
		n.kill()
		n.door.set(func(d *door) { d.down = was })
		next := join(t, n.door, state)
		next.office.mu.Lock()
		next.office.events = append(n.office.events, next.office.events...)
		next.office.mu.Unlock()
		w.nodes[i] = next
		for m := range w.here[i] {
			next.enter(1, m.topic, m.id)
		}
		next.Received(1, broker.Told, "", nil)
		next.Settle()
	}
}
