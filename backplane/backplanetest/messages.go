package backplanetest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/expedite-go/expedite/backplane"
)

// testOrder: messages arrive in the order in which they were published, each once.
func testOrder(s *bench) {
	const count = 20_000
	s.subscribe(s.b, "t")
	payload := make([]byte, 0, 8)
	for i := range count {
		payload = strconv.AppendInt(payload[:0], int64(i), 10) // the same bytes again and again
		s.publish(s.a, "t", payload)
	}
	for i, got := range s.received(s.b, "t", count) {
		if got != strconv.Itoa(i) {
			s.Fatalf("message %d: got %q", i, short(got))
		}
	}
}

// testOwnMessages: a machine receives what it publishes, as the others do.
func testOwnMessages(s *bench) {
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	s.publish(s.a, "t", []byte("hello"))
	for _, m := range []*machine{s.a, s.b} {
		if got := s.received(m, "t", 1); got[0] != "hello" {
			s.Errorf("got %q", short(got[0]))
		}
	}
}

// testPayloads: payloads of any bytes and sizes arrive as they were.
func testPayloads(s *bench) {
	s.subscribe(s.b, "t")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := bytes.Repeat(all, backplane.MaxPayload/len(all)+1)
	var want []string
	for _, n := range []int{0, 1, 256, 4095, 4096, 16 << 10, 1<<16 - 1, 1 << 20, backplane.MaxPayload, 2} {
		s.publish(s.a, "t", large[:n])
		want = append(want, string(large[:n]))
	}
	for i, got := range s.received(s.b, "t", len(want)) {
		if got != want[i] {
			s.Errorf("payload of %d bytes: got %d bytes, or others", len(want[i]), len(got))
		}
	}
}

// oddTopics returns topics that an implementation could mistake for something else.
func oddTopics() []string {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	return []string{
		"", " ", "*", "t*", "[a-z]", "\x00", "\r\n", "a\r\nb", "{", "}", "{}", "{t}", "{t}x", "{}{t}", "ä", "\xff\xfe",
		":", "0:t",
		all.String(), strings.Repeat("x", backplane.MaxTopic), strings.Repeat("\xff", backplane.MaxTopic),
	}
}

// testTopics: topics contain any bytes, and are not mistaken for each other.
func testTopics(s *bench) {
	topics := oddTopics()
	s.subscribe(s.b, topics...)
	for i, one := range topics {
		s.publish(s.a, one, []byte(strconv.Itoa(i)))
	}
	for i, one := range topics {
		if got := s.received(s.b, one, 1); got[0] != strconv.Itoa(i) {
			s.Errorf("topic %q: got %q", short(one), short(got[0]))
		}
	}
}

// testManyTopics: many topics are subscribed to at once, and messages of each arrive.
func testManyTopics(s *bench) {
	topics := make([]string, 20_000)
	for i := range topics {
		topics[i] = "many/" + strconv.Itoa(i)
	}
	s.subscribe(s.b, topics...)
	for range 2 {
		for _, one := range topics {
			s.publish(s.a, one, []byte(one))
		}
	}
	for _, one := range topics {
		if got := s.received(s.b, one, 2); got[0] != one || got[1] != one {
			s.Fatalf("topic %q: got %q", one, got)
		}
	}
	s.b.Unsubscribe(topics...)
	s.silent(s.b, topics[0], topics[len(topics)-1])
}

// testConcurrentPublishers: the messages of each goroutine of both machines arrive in their order, each once.
func testConcurrentPublishers(s *bench) {
	const publishers, count = 8, 500
	s.subscribe(s.a, "t")
	s.subscribe(s.b, "t")
	var all sync.WaitGroup
	for p := range publishers {
		m := []*machine{s.a, s.b}[p%2]
		all.Go(func() { // ends with its messages
			for i := range count {
				s.publish(m, "t", fmt.Appendf(nil, "%d %d", p, i))
			}
		})
	}
	all.Wait()
	for _, m := range []*machine{s.a, s.b} {
		next := make([]int, publishers)
		for _, got := range s.received(m, "t", publishers*count) {
			var p, i int
			if _, err := fmt.Sscanf(got, "%d %d", &p, &i); err != nil {
				s.Fatalf("got %q", short(got))
			}
			if i != next[p] {
				s.Fatalf("publisher %d: got message %d, want %d", p, i, next[p])
			}
			next[p]++
		}
	}
}

// testSlowReceiver: while the Receiver blocks, nothing is lost, and the order stays.
func testSlowReceiver(s *bench) {
	const count = 5000
	s.subscribe(s.b, "t")
	gate := make(chan struct{})
	s.b.got.mu.Lock()
	s.b.got.gate = gate
	s.b.got.mu.Unlock()
	for i := range count {
		s.publish(s.a, "t", []byte(strconv.Itoa(i)))
	}
	s.subscribe(s.a, "t") // the other machine is not concerned
	s.publish(s.a, "t", []byte(strconv.Itoa(count)))
	s.until(s.a, "the last message arrives", func(r *receiver) bool { return len(r.topic("t").payloads) > 0 })
	close(gate)
	for i, got := range s.received(s.b, "t", count+1) {
		if got != strconv.Itoa(i) {
			s.Fatalf("message %d: got %q", i, short(got))
		}
	}
}
