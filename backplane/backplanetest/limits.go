package backplanetest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// want checks an error.
func (s *bench) want(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// testLimits: messages that are too large are refused, and others are not.
func testLimits(s *bench) {
	long := strings.Repeat("x", backplane.MaxTopic)
	s.want("the longest topic", s.a.Publish(long, nil), nil)
	s.want("a longer topic", s.a.Publish(long+"x", nil), backplane.ErrTooLarge)
	s.want("a longer payload", s.a.Publish("t", make([]byte, backplane.MaxPayload+1)), backplane.ErrTooLarge)
	if n := s.a.Status().Refused; n != 2 {
		s.Errorf("Status.Refused is %d, want 2", n)
	}
	s.subscribe(s.b, "t")
	s.publish(s.a, "t", []byte("1"))
	s.received(s.b, "t", 1)
}

// testCounters: Status counts messages, and is without an error and without a queue when everything has arrived.
func testCounters(s *bench) {
	const count = 100
	s.subscribe(s.b, "t")
	for range count {
		s.publish(s.a, "t", []byte("1"))
	}
	s.received(s.b, "t", count)
	s.subscribe(s.a, "marker") // by then the last message has been answered
	s.mark(s.a)
	s.healthy(s.a)
	s.healthy(s.b)
	if got := s.a.Status(); got.Err != nil || got.Published != count+1 || got.Repeated != 0 || got.Dropped != 0 {
		s.Errorf("a: got %+v", got)
	}
	if got := s.b.Status(); got.Received != count || got.Published != 0 || got.Interrupted != 0 {
		s.Errorf("b: got %+v", got)
	}
}

// healthy waits until a Backplane has no error.
func (s *bench) healthy(m *machine) {
	s.Helper()
	for deadline := time.Now().Add(s.patience); m.Status().Err != nil; {
		if time.Now().After(deadline) {
			s.Fatalf("the error stays: %v", m.Status().Err)
		}
		<-time.After(time.Millisecond)
	}
}

// testCloseInTraffic: Close ends the calls of the Receiver, and Publish fails from then on.
func testCloseInTraffic(s *bench) {
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, m := range []*machine{s.a, s.b} {
		all.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := m.Publish("t", []byte("1")); errors.Is(err, backplane.ErrTooLarge) {
					s.Errorf("Publish: %v", err)
				}
				m.Subscribe("more")
				m.Unsubscribe("more")
			}
		})
	}
	s.until(s.b, "messages arrive", func(r *receiver) bool { return len(r.topic("t").payloads) > 1000 })
	s.close(s.b)
	s.want("Publish after Close", s.b.Publish("t", nil), backplane.ErrClosed)
	n := s.total(s.a, []string{"t"})
	s.until(s.a, "the other machine receives more", func(r *receiver) bool { return len(r.topic("t").payloads) > n+1000 })
	close(stop)
	all.Wait()
	s.b.Subscribe("t")
	s.b.Unsubscribe("t")
	if s.b.Status().Err == nil {
		s.Errorf("a closed Backplane has no error")
	}
	s.close(s.b)
}

// testNotStarted: before Start, Publish fails, and Close works.
func testNotStarted(s *bench) {
	s.want("Publish before Start", s.a.Publish("t", nil), backplane.ErrClosed)
	s.close(s.a)
	s.want("Publish after Close", s.a.Publish("t", nil), backplane.ErrClosed)
}
