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
	maps.DeleteFunc(s.topics, func(_ string, t *sender) bool { return now-t.at > keepSender })
	if len(s.topics) < s.max {
		return
	}
	at := make([]time.Duration, 0, len(s.topics))
	for _, t := range s.topics {
		at = append(at, t.at)
	}
	slices.Sort(at)
	oldest := at[len(at)/4]
	maps.DeleteFunc(s.topics, func(_ string, t *sender) bool { return t.at <= oldest })
}
