package backplanetest

import (
	"errors"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

func historySuite() []test {
	return []test{
		{name: "Positions", test: testPositions},
		{name: "OneOrder", test: testOneOrder},
		{name: "Repetition", test: testRepetition},
		{name: "Publishers", test: testPublishers},
		{name: "Plain", test: testPlain},
		{name: "Pages", test: testPages},
		{name: "Newest", test: testNewest},
		{name: "Nothing", test: testNothing},
		{name: "Trimmed", test: testTrimmed},
		{name: "Expired", test: testExpired},
		{name: "Renew", test: testRenew},
		{name: "AppendedPayloads", test: testAppendedPayloads},
		{name: "AppendedTopics", test: testAppendedTopics},
		{name: "HistoryLimits", test: testHistoryLimits},
		{name: "HistoryNotStarted", test: testHistoryNotStarted, stopped: true},
	}
}

// keep is a retention that no test reaches.
func keep() backplane.Retention { return backplane.Retention{Messages: 100_000, For: time.Hour} }

// history returns the History of a machine.
func (s *bench) history(m *machine) backplane.History {
	s.Helper()
	h, ok := m.Backplane.(backplane.History)
	if !ok {
		s.Fatalf("%T has no history", m.Backplane)
	}
	return h
}

// answers collects what done is called with.
type answers[T any] struct {
	mu      sync.Mutex
	list    []T
	errs    []error
	changed chan struct{}
}

func newAnswers[T any]() *answers[T] { return &answers[T]{changed: make(chan struct{}, 1)} }

func (a *answers[T]) done(one T, err error) {
	a.mu.Lock()
	a.list, a.errs = append(a.list, one), append(a.errs, err)
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// want waits for a number of answers without errors.
func (a *answers[T]) want(s *bench, n int) []T {
	s.Helper()
	limit := time.NewTimer(s.patience)
	defer limit.Stop()
	for {
		a.mu.Lock()
		list, err := a.list, errors.Join(a.errs...)
		a.mu.Unlock()
		if err != nil {
			s.Fatalf("got %v", err)
		}
		if len(list) > n {
			s.Fatalf("got %d answers, want %d", len(list), n)
		}
		if len(list) == n {
			return list
		}
		select {
		case <-a.changed:
		case <-limit.C:
			s.Fatalf("got %d answers, want %d", len(list), n)
		}
	}
}

// append appends messages with numbers from first, and waits until they have their positions.
func (s *bench) append(m *machine, topic string, publisher, first uint64, payloads ...string) []backplane.Position {
	s.Helper()
	one := backplane.Append{Key: backplane.Key{Publisher: publisher, Number: first}, Keep: keep()}
	return s.appendLike(m, topic, one, payloads...)
}

// appendLike appends messages with the retention, the publisher and numbers from that of one on.
func (s *bench) appendLike(m *machine, topic string, one backplane.Append, payloads ...string) []backplane.Position {
	s.Helper()
	a := newAnswers[backplane.Position]()
	for _, payload := range payloads {
		one.Payload = []byte(payload)
		s.appendOne(m, topic, one, a.done)
		one.Key.Number++
	}
	return a.want(s, len(payloads))
}

// appendOne appends a message, and waits for room.
func (s *bench) appendOne(m *machine, topic string, one backplane.Append, done func(backplane.Position, error)) {
	s.Helper()
	for deadline := time.Now().Add(s.patience); ; {
		err := s.history(m).Append(topic, one, done)
		if err == nil {
			return
		}
		if !errors.Is(err, backplane.ErrOverloaded) || time.Now().After(deadline) {
			s.Fatalf("Append: %v", err)
		}
		<-time.After(time.Millisecond)
	}
}

// read reads a page.
func (s *bench) read(m *machine, topic string, what backplane.Range) backplane.Page {
	s.Helper()
	if what.Keep == (backplane.Retention{}) {
		what.Keep = keep()
	}
	for deadline := time.Now().Add(s.patience); ; {
		a := newAnswers[backplane.Page]()
		failed := make(chan error, 1)
		err := s.history(m).Read(topic, what, func(p backplane.Page, err error) {
			if errors.Is(err, backplane.ErrUnavailable) {
				failed <- err
				return
			}
			a.done(p, err)
			failed <- nil
		})
		if err == nil {
			if err = <-failed; err == nil {
				return a.want(s, 1)[0]
			}
		}
		if errors.Is(err, backplane.ErrRefused) || time.Now().After(deadline) {
			s.Fatalf("Read: %v", err)
		}
		<-time.After(time.Millisecond)
	}
}

// entries checks that a page has the messages from an offset on, and returns their payloads.
func (s *bench) entries(p backplane.Page, first uint64) (list []string) {
	s.Helper()
	for i, one := range p.Entries {
		if one.Offset != first+uint64(i) {
			s.Errorf("entry %d: got offset %d, want %d", i, one.Offset, first+uint64(i))
		}
		list = append(list, string(one.Payload))
	}
	return list
}

// offsets checks that positions have the epoch of the first one and ascending offsets from a number on.
func (s *bench) offsets(list []backplane.Position, first uint64) {
	s.Helper()
	for i, at := range list {
		if want := (backplane.Position{Epoch: list[0].Epoch, Offset: first + uint64(i)}); at != want || at.Epoch == 0 {
			s.Fatalf("message %d: got position %v, want %v", i, at, want)
		}
	}
}
