package relay

import "time"

// said has, of each topic with a history, the number of the latest publication of this machine. The next one tells it,
// so that other machines notice if they have missed that.
type said struct {
	topics map[string]*latestOwn
	max    int
}

// latestOwn is the latest publication of this machine on a topic.
type latestOwn struct {
	number uint64 // 0: it has got no place, which other machines are told
	at     time.Duration
}

func newSaid() said { return said{topics: make(map[string]*latestOwn), max: maxSenders} }

// next notes a publication, and returns the number of the one before it; 0 is not known.
func (s *said) next(topic string, number uint64, now time.Duration) (previous uint64) {
	known := s.topics[topic]
	if known == nil {
		makeRoom(s.topics, s.max, func(l *latestOwn) time.Duration { return l.at }, now)
		known = &latestOwn{}
		s.topics[topic] = known
	}
	previous = known.number
	*known = latestOwn{number, now}
	return previous
}

// refused notes that a publication got no place.
func (s *said) refused(topic string) {
	if known := s.topics[topic]; known != nil {
		known.number = 0
	}
}
