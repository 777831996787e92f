package relay

import (
	"maps"
	"slices"
	"time"
)

const (
	// maxSenders is the number of topics whose latest number is kept. keepSender is how long one is kept at least that
	// nothing more was published on, unless there are too many.
	maxSenders = 200_000
	keepSender = 10 * time.Minute
)

// senders has the latest number of each topic on which this machine publishes.
type senders struct {
	topics map[string]*sender
	stream uint64 // of topics that come from now on
	owed   map[string]struct{}
	max    int
}

// sender is the latest publication on a topic.
type sender struct {
	stream, seq uint64
	at          time.Duration
}

func newSenders() senders {
	return senders{topics: make(map[string]*sender), stream: 1, owed: make(map[string]struct{}), max: maxSenders}
}

// next returns the number of the next publication on a topic.
func (s *senders) next(topic []byte, now time.Duration) *sender {
	known := s.topics[string(topic)]
	if known == nil {
		s.forget(now)
		known = &sender{stream: s.stream}
		s.topics[string(topic)] = known
	}
	known.seq++
	known.at = now
	return known
}

// forget makes room for a topic. A topic that is forgotten begins a new stream when it is published on again, so its
// numbers do not look like repeated ones.
func (s *senders) forget(now time.Duration) {
	if len(s.topics) < s.max {
		return
	}
	s.stream++
	makeRoom(s.topics, s.max, func(t *sender) time.Duration { return t.at }, now)
}

// makeRoom forgets topics if there are too many: those not used for long, or else those that were used longest ago.
func makeRoom[T any](topics map[string]T, most int, used func(T) time.Duration, now time.Duration) {
	if len(topics) < most {
		return
	}
	maps.DeleteFunc(topics, func(_ string, t T) bool { return now-used(t) > keepSender })
	if len(topics) < most {
		return
	}
	at := make([]time.Duration, 0, len(topics))
	for _, t := range topics {
		at = append(at, used(t))
	}
	slices.Sort(at)
	oldest := at[len(at)/4]
	maps.DeleteFunc(topics, func(_ string, t T) bool { return used(t) <= oldest })
}
