package backplanetest

import (
	"context"
	"fmt"

	"github.com/expedite-go/expedite/backplane"
)

// whole is the division of a Backplane that is not Divided.
type whole struct{}

func (whole) Parts() int      { return 1 }
func (whole) Part(string) int { return 0 }

// parts returns how the topics of a machine are divided.
func (m *machine) parts() backplane.Divided {
	if d, ok := m.Backplane.(backplane.Divided); ok {
		return d
	}
	return whole{}
}

// partTopics is the number of topics that a test looks at to find one in each part.
const partTopics = 1000

// oneOfEach returns a topic of each part.
func (s *bench) oneOfEach(d backplane.Divided) (topics []string) {
	s.Helper()
	topics = make([]string, d.Parts())
	for i := range partTopics {
		topic := fmt.Sprint("topic ", i)
		part := d.Part(topic)
		if part < 0 || part >= len(topics) {
			s.Fatalf("%q is in part %d of %d", topic, part, len(topics))
		}
		topics[part] = topic
	}
	for part, topic := range topics {
		if topic == "" {
			s.Fatalf("part %d has none of %d topics", part, partTopics)
		}
	}
	return topics
}

// testParts: all machines have the same topics in one part, however they number the parts.
func testParts(s *bench) {
	a, b := s.a.parts(), s.b.parts()
	if a.Parts() < 1 || a.Parts() != b.Parts() {
		s.Fatalf("got %d and %d parts", a.Parts(), b.Parts())
	}
	s.oneOfEach(a)
	s.oneOfEach(b)
	same := make(map[int]int) // the part of b by that of a
	for i := range partTopics {
		topic := fmt.Sprint("topic ", i)
		part := a.Part(topic)
		if part != a.Part(topic) {
			s.Errorf("%q is in one part and then in another", topic)
		}
		if of, known := same[part]; known && of != b.Part(topic) {
			s.Fatalf("%q is in part %d of the other machine, others of its part are in %d", topic, b.Part(topic), of)
		}
		same[part] = b.Part(topic)
	}
}

// testPresenceParts: the end of the attendance at one part does not concern the other parts.
func testPresenceParts(s *bench) {
	a, b := s.attend(s.a, longLease), s.attend(s.b, longLease)
	topics := s.oneOfEach(a.parts)
	for _, topic := range topics {
		a.add(topic, "x")
	}
	gone := topics[len(topics)-1]
	part, id := a.at(gone)
	s.call("Retire", func(ctx context.Context) error { return b.plane.Retire(ctx, b.parts.Part(gone), id) })
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	s.want("Extend", a.plane.Extend(ctx, part, id, longLease), backplane.ErrLapsed)
	b.wantMembers(gone)
	for _, topic := range topics[:len(topics)-1] {
		s.call("Extend", func(ctx context.Context) error { return a.extend(ctx, topic) })
		b.wantMembers(topic, "x")
	}
}
