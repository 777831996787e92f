package broker_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// teller is an Interest whose messages are kept, by what they say of each topic.
type teller struct {
	*broker.Interest
	err   error // the result of Send
	soon  int
	sizes []int // of the messages
	said  []string
}

func newTeller(t *testing.T) *teller {
	tell := new(teller)
	tell.Interest = broker.NewInterest(broker.LinkFunc(func(m []byte) error {
		if tell.err != nil {
			return tell.err
		}
		tell.sizes = append(tell.sizes, len(m))
		for len(m) > 0 {
			e, n, err := broker.ParseEnvelope(m)
			if err != nil || e.Kind != broker.Want && e.Kind != broker.Unwant {
				t.Fatalf("got %+v, %v", e, err)
			}
			tell.said = append(tell.said, fmt.Sprintf("%s %v", e.Topic, e.Kind == broker.Want))
			m = m[n:]
		}
		return nil
	}), func() { tell.soon++ })
	return tell
}

func (tell *teller) want(t *testing.T, what string, want ...string) {
	t.Helper()
	slices.Sort(tell.said)
	if !slices.Equal(tell.said, want) {
		t.Errorf("%s: got %q, want %q", what, tell.said, want)
	}
	tell.said = nil
}

// TestInterest: what changed since the last Flush is sent, each topic as it is now.
func TestInterest(t *testing.T) {
	tell := newTeller(t)
	tell.Set("a", true)
	tell.Set("b", true)
	tell.Set("a", false)
	tell.want(t, "before Flush")
	tell.Flush()
	tell.want(t, "after Flush", "a false", "b true")
	tell.Flush()
	if tell.want(t, "nothing has changed"); len(tell.sizes) != 1 || tell.soon != 1 {
		t.Errorf("got %d messages and %d calls of soon, want 1 and 1", len(tell.sizes), tell.soon)
	}
	tell.SetAll(maps.Keys(map[string]int{"b": 1, "c": 2}))
	tell.err = errNoRoom
	tell.Flush()
	tell.Set("c", false)
	tell.err = nil
	if tell.Flush(); tell.soon != 3 {
		t.Errorf("got %d calls of soon, want one after each Flush that a Set follows", tell.soon)
	}
	tell.want(t, "when there is room again", "b true", "c false")
}

// TestInterestInBatches: many topics are sent in messages of 32 KiB. What the link does not take waits, and nothing is
// sent twice.
func TestInterestInBatches(t *testing.T) {
	tell := newTeller(t)
	const batch, size = 32 << 10, 32 // each envelope has a header of 28 bytes and a name of 4
	var want []string
	for n := range 2*batch/size + 1 {
		topic := fmt.Sprintf("%04d", n)
		tell.Set(topic, true)
		want = append(want, topic+" true")
	}
	tell.Flush()
	if !slices.Equal(tell.sizes, []int{batch, batch, size}) {
		t.Errorf("got messages of %d bytes, want two of 32 KiB and the rest", tell.sizes)
	}
	tell.want(t, "all topics", want...)

	sent := 0
	link := broker.LinkFunc(func([]byte) error {
		if sent++; sent == 2 {
			return errNoRoom
		}
		return nil
	})
	i := broker.NewInterest(link, func() {})
	for n := range 2*batch/size + 1 {
		i.Set(fmt.Sprintf("%04d", n), true)
	}
	if i.Flush(); sent != 2 {
		t.Errorf("got %d messages, want none after the one that the link refuses", sent)
	}
	if i.Flush(); sent != 4 {
		t.Errorf("got %d messages, want two more: a batch and the rest", sent)
	}
}
