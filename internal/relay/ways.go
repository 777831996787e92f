package relay

import (
	"slices"
	"strconv"

	"github.com/expedite-go/expedite/backplane"
)

// maxWays is the number of topics that are tried to find one in each part of a backplane.
const maxWays = 1000

// ways returns topics for one purpose: one in each part of the backplane, in the order of the parts. What takes all of
// them reaches all machines while any server is there. The one without a number is among them, and the only one if the
// backplane is not divided. All machines find the same, however they number the parts.
func ways(b backplane.Backplane, base string) []string {
	d, ok := b.(backplane.Divided)
	if !ok {
		return []string{base}
	}
	list := make([]string, d.Parts())
	list[d.Part(base)] = base
	for n := 1; n < maxWays && slices.Contains(list, ""); n++ {
		topic := base + wayMark + strconv.Itoa(n)
		if part := d.Part(topic); list[part] == "" {
			list[part] = topic
		}
	}
	return slices.DeleteFunc(list, func(topic string) bool { return topic == "" })
}

// wayMark is between the topic and the number of a way.
const wayMark = "\x00"

// beside returns the way of a purpose that is in the part of another topic: who was reached by that can be answered
// there.
func beside(b backplane.Backplane, base, topic string) string {
	if d, ok := b.(backplane.Divided); ok {
		for _, way := range ways(b, base) {
			if d.Part(way) == d.Part(topic) {
				return way
			}
		}
	}
	return base
}

// outAll sends a message to all machines, by all ways. It fails if none takes it. r.mu must be held.
func (r *Relay) outAll(payload []byte) (err error) {
	sent := false
	for _, topic := range r.all {
		failed := r.out(topic, payload)
		if failed == nil {
			sent = true
		} else {
			err = failed
		}
	}
	if sent {
		return nil
	}
	return err
}

// recent has the latest questions that were heard: each comes by several ways.
type recent struct {
	list [256]asker
	next int
}

// asker is a machine and the number of its question.
type asker struct{ node, id uint64 }

// heard reports whether a question was heard before, and notes it.
func (q *recent) heard(one asker) bool {
	if slices.Contains(q.list[:], one) {
		return true
	}
	q.list[q.next%len(q.list)] = one
	q.next++
	return false
}
