package backplanetest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/backplane"
)

// numbers returns a number of different payloads.
func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	return list
}

// testPositions: appended messages get positions in their order, which the publisher and all subscribers are told.
func testPositions(s *bench) {
	const count = 2000
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	at := s.append(s.a, "t", 1, 1, numbers(count)...)
	s.offsets(at, 1)
	for _, m := range []*machine{s.a, s.b} {
		got := s.received(m, "t", count)
		m.got.mu.Lock()
		if there := m.got.topic("t").at; !slices.Equal(got, numbers(count)) || !slices.Equal(there, at) {
			s.Errorf("messages or their positions are not those of the publisher")
		}
		m.got.mu.Unlock()
	}
	p := s.read(s.b, "t", backplane.Range{})
	if got := s.entries(p, 1); !slices.Equal(got, numbers(count)) || p.Epoch != at[0].Epoch || p.Head != count {
		s.Errorf("got %d messages, epoch %d, head %d", len(got), p.Epoch, p.Head)
	}
}

// testOneOrder: messages of several publishers have one order, everywhere, and each publisher's own is kept.
func testOneOrder(s *bench) {
	const publishers, count = 6, 200
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	ended := make(chan struct{})
	for i := range publishers {
		m := []*machine{s.a, s.b}[i%2]
		go func() { // ends with its messages
			defer func() { ended <- struct{}{} }()
			for k := range count {
				one := backplane.Append{Keep: keep(), Payload: fmt.Appendf(nil, "%d %d", i, k)}
				one.Key = backplane.Key{Publisher: uint64(i + 1), Number: uint64(k + 1)}
				s.appendOne(m, "t", one, func(backplane.Position, error) {})
			}
		}()
	}
	for range publishers {
		<-ended
	}
	first := s.received(s.a, "t", publishers*count)
	second := s.received(s.b, "t", publishers*count)
	kept := s.entries(s.read(s.a, "t", backplane.Range{}), 1)
	if !slices.Equal(first, second) || !slices.Equal(first, kept) {
		s.Errorf("two machines and the history do not have the same order")
	}
	next := make([]int, publishers)
	for _, one := range first {
		var i, k int
		if _, err := fmt.Sscanf(one, "%d %d", &i, &k); err != nil || k != next[i] {
			s.Fatalf("got %q of a publisher whose next message is %d", short(one), next[i])
		}
		next[i]++
	}
}

// testRepetition: a message is not taken again, however often it is appended.
func testRepetition(s *bench) {
	s.subscribe(s.b, "t")
	at := s.append(s.a, "t", 1, 5, "5", "6", "7")
	again := s.append(s.b, "t", 1, 5, "5", "6", "7") // by another way
	for i, one := range again[:2] {
		if one.Epoch != at[i].Epoch || one.Offset != 0 {
			s.Errorf("message %d again: got position %v", i, one)
		}
	}
	if again[2] != at[2] {
		s.Errorf("the latest message again: got position %v, want %v", again[2], at[2])
	}
	more := s.append(s.a, "t", 1, 7, "7", "10")
	if more[0] != at[2] || more[1] != (backplane.Position{Epoch: at[0].Epoch, Offset: 4}) {
		s.Errorf("got positions %v", more)
	}
	if got := s.received(s.b, "t", 4); !slices.Equal(got, []string{"5", "6", "7", "10"}) {
		s.Errorf("got %q", got)
	}
	s.append(s.a, "other", 1, 1, "1") // numbers are of a topic
	if got := s.entries(s.read(s.a, "other", backplane.Range{}), 1); len(got) != 1 {
		s.Errorf("another topic has %q", got)
	}
}

// testPublishers: a topic may have many publishers, now and over time.
func testPublishers(s *bench) {
	const publishers, known = 500, 200
	for i := range publishers {
		s.append(s.a, "t", 1_000_000+uint64(i), 1, "x")
	}
	for i := publishers - known; i < publishers; i++ {
		if again := s.append(s.a, "t", 1_000_000+uint64(i), 1, "x"); again[0].Offset != uint64(i+1) {
			s.Errorf("publisher %d repeats its message: got position %v", i, again[0])
		}
	}
	if p := s.read(s.b, "t", backplane.Range{Newest: 1}); p.Head != publishers {
		s.Errorf("got head %d", p.Head)
	}
}

// testPlain: published messages have no position, and keep their order among those of the same machine.
func testPlain(s *bench) {
	s.subscribe(s.b, "t")
	var want []string
	for i := range 50 {
		one := strconv.Itoa(i)
		want = append(want, one, "\x00"+one, "\x00"+one+" 5 x")
		s.appendOne(s.a, "t", backplane.Append{
			Key: backplane.Key{Publisher: 1, Number: uint64(i + 1)}, Keep: keep(), Payload: []byte(one),
		}, func(backplane.Position, error) {})
		s.publish(s.a, "t", []byte("\x00"+one))
		s.publish(s.a, "t", []byte("\x00"+one+" 5 x"))
	}
	got := s.received(s.b, "t", len(want))
	s.b.got.mu.Lock()
	defer s.b.got.mu.Unlock()
	for i, at := range s.b.got.topic("t").at {
		if got[i] != want[i] || (at.Offset != 0) != (i%3 == 0) {
			s.Errorf("message %d: got %q with position %v, want %q", i, short(got[i]), at, want[i])
		}
	}
	if p := s.read(s.a, "t", backplane.Range{}); len(p.Entries) != 50 {
		s.Errorf("got %d messages of the history, want 50", len(p.Entries))
	}
}

// testAppendedPayloads: payloads of any bytes and sizes are kept and arrive as they were.
func testAppendedPayloads(s *bench) {
	s.subscribe(s.b, "t")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := bytes.Repeat(all, backplane.MaxPayload/len(all)+1)
	sizes := []int{0, 1, 256, 1 << 16, 1 << 20, backplane.MaxPayload, 2}
	for i, n := range sizes {
		s.append(s.a, "t", 1, uint64(i+1), string(large[:n]))
	}
	got := s.received(s.b, "t", len(sizes))
	for i, n := range sizes {
		p := s.read(s.b, "t", backplane.Range{After: uint64(i), Messages: 1})
		if kept := s.entries(p, uint64(i+1)); len(kept) != 1 || kept[0] != string(large[:n]) || got[i] != kept[0] {
			s.Errorf("payload of %d bytes: got %d messages of the history, or others", n, len(kept))
		}
	}
}

// testAppendedTopics: topics contain any bytes, and are not mistaken for each other.
func testAppendedTopics(s *bench) {
	topics := append(oddTopics(), "a}b", "}{", "}{x}", "{}x}", "t:s", "t:m", "history", "{t", "t}")
	s.subscribe(s.b, topics...)
	for i, one := range topics {
		s.offsets(s.append(s.a, one, 1, 1, strconv.Itoa(i)), 1)
	}
	for i, one := range topics {
		got, kept := s.received(s.b, one, 1), s.entries(s.read(s.b, one, backplane.Range{}), 1)
		if len(kept) != 1 || got[0] != strconv.Itoa(i) || kept[0] != got[0] {
			s.Errorf("topic %q: got %q, and %q of the history", short(one), short(got[0]), kept)
		}
	}
}

// testHistoryLimits: what is too large is refused at once.
func testHistoryLimits(s *bench) {
	h := s.history(s.a)
	long := strings.Repeat("x", backplane.MaxTopic)
	one := backplane.Append{Key: backplane.Key{Publisher: 1, Number: 1}, Keep: keep()}
	none := func(backplane.Position, error) { s.Errorf("done is called for what was refused") }
	page := func(backplane.Page, error) { s.Errorf("done is called for what was refused") }
	s.want("a longer topic", h.Append(long+"x", one, none), backplane.ErrTooLarge)
	s.want("to read a longer topic", h.Read(long+"x", backplane.Range{Keep: keep()}, page), backplane.ErrTooLarge)
	s.want("to renew a longer topic", h.Renew(long+"x", 1, page), backplane.ErrTooLarge)
	one.Payload = make([]byte, backplane.MaxPayload+1)
	s.want("a longer payload", h.Append("t", one, none), backplane.ErrTooLarge)
	one.Payload, one.Key.Number = nil, backplane.MaxNumber
	a := newAnswers[backplane.Position]()
	s.want("the longest topic and the largest number", h.Append(long, one, a.done), nil)
	a.want(s, 1)
	again := s.append(s.a, long, 1, backplane.MaxNumber, "x")
	if again[0].Offset != 1 {
		s.Errorf("the largest number again: got position %v", again[0])
	}
}

// testHistoryNotStarted: before Start and after Close, everything fails.
func testHistoryNotStarted(s *bench) {
	h := s.history(s.a)
	one := backplane.Append{Key: backplane.Key{Publisher: 1, Number: 1}, Keep: keep()}
	none := func(backplane.Position, error) { s.Errorf("done is called for what was refused") }
	page := func(backplane.Page, error) { s.Errorf("done is called for what was refused") }
	for _, when := range []string{"before Start", "after Close"} {
		s.want("Append "+when, h.Append("t", one, none), backplane.ErrClosed)
		s.want("Read "+when, h.Read("t", backplane.Range{Keep: keep()}, page), backplane.ErrClosed)
		s.want("Renew "+when, h.Renew("t", 1, page), backplane.ErrClosed)
		s.close(s.a)
	}
}
