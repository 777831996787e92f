package backplanetest

import (
	"slices"
	"strconv"
	"time"
)

// testInterest: a machine receives the messages of its topics, and no others.
func testInterest(s *bench) {
	s.subscribe(s.a, "a", "both")
	s.subscribe(s.b, "b", "both")
	for _, one := range []string{"a", "b", "none", "both", "bo", "both2", "B"} {
		s.publish(s.a, one, []byte(one))
	}
	for m, own := range map[*machine]string{s.a: "a", s.b: "b"} {
		s.received(m, own, 1)
		s.received(m, "both", 1)
		s.only(m, own, "both")
	}
}

// only checks that a machine has received messages of some topics only.
func (s *bench) only(m *machine, topics ...string) {
	s.Helper()
	m.got.mu.Lock()
	defer m.got.mu.Unlock()
	for name, t := range m.got.topics {
		if len(t.payloads) > 0 && !slices.Contains(topics, name) {
			s.Errorf("got %d messages of %q", len(t.payloads), short(name))
		}
	}
}

// silent waits until messages of topics do not arrive any more.
func (s *bench) silent(m *machine, topics ...string) {
	s.Helper()
	s.subscribe(m, "marker")
	for deadline := time.Now().Add(s.patience); ; {
		if time.Now().After(deadline) {
			s.Fatalf("messages of topics that are not subscribed to arrive again and again")
		}
		before := s.total(m, topics)
		for _, one := range topics {
			s.publish(s.a, one, []byte("late"))
		}
		s.mark(m)
		s.mark(m) // topics may overtake each other a little
		if s.total(m, topics) == before {
			return
		}
	}
}

// mark publishes a message and waits until it has arrived.
func (s *bench) mark(m *machine) {
	s.Helper()
	n := s.total(m, []string{"marker"})
	s.publish(s.a, "marker", nil)
	s.until(m, "the marker arrives", func(r *receiver) bool { return len(r.topic("marker").payloads) > n })
}

// total returns the number of messages of topics that were received.
func (s *bench) total(m *machine, topics []string) (n int) {
	m.got.mu.Lock()
	defer m.got.mu.Unlock()
	for _, one := range topics {
		n += len(m.got.topic(one).payloads)
	}
	return n
}

// testUnsubscribe: messages stop some time after Unsubscribe, for this machine and this topic only.
func testUnsubscribe(s *bench) {
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t", "other")
	s.publish(s.a, "t", []byte("1"))
	s.received(s.b, "t", 1)
	s.b.Unsubscribe("t", "never subscribed")
	s.silent(s.b, "t")
	s.publish(s.a, "other", []byte("2"))
	s.received(s.b, "other", 1)
	s.received(s.a, "t", s.total(s.a, []string{"t"}))
}

// testSubscribeTwice: a topic that is subscribed to already is ignored.
func testSubscribeTwice(s *bench) {
	s.subscribe(s.b, "t", "t")
	s.b.Subscribe("t")
	s.publish(s.a, "t", []byte("1"))
	s.received(s.b, "t", 1)
	s.subscribe(s.b, "marker")
	s.mark(s.b)
	s.mark(s.b)
	s.received(s.b, "t", 1)
	s.b.got.mu.Lock()
	defer s.b.got.mu.Unlock()
	if n := s.b.got.topic("t").begun; n != 1 {
		s.Errorf("Listening was called %d times", n)
	}
}

// testSubscribeAgain: after Unsubscribe and Subscribe, Listening is called again, and messages arrive.
func testSubscribeAgain(s *bench) {
	s.subscribe(s.b, "t")
	for round := range 20 {
		s.b.Unsubscribe("t")
		s.b.got.forget("t")
		s.subscribe(s.b, "t")
		s.publish(s.a, "t", []byte(strconv.Itoa(round)))
		list := s.received(s.b, "t", round+1)
		if got := list[round]; got != strconv.Itoa(round) {
			s.Fatalf("round %d: got %q", round, short(got))
		}
	}
}

// testQuickChanges: however often and quickly a topic is subscribed to and unsubscribed from, the last word counts.
func testQuickChanges(s *bench) {
	for range 300 {
		s.b.Subscribe("on", "off")
		s.b.Unsubscribe("on", "off")
	}
	s.b.Subscribe("on")
	s.until(s.b, "it is listened to", func(r *receiver) bool { return r.topic("on").listening })
	s.silent(s.b, "off")
	s.publish(s.a, "on", []byte("1"))
	s.received(s.b, "on", 1)
}
