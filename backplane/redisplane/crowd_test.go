package redisplane_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// machine is a Backplane that receives numbered messages, and checks that none is missing without a call of Missing.
type machine struct {
	*redisplane.Redis
	t *testing.T

	mu     sync.Mutex
	topics map[string]*heard
	gate   chan struct{} // if not nil, Receive waits until it is closed
}

// heard is what a machine has received of a topic.
type heard struct {
	latest, largest int // the message before, and the one with the largest number
	listening       bool
	begun, missed   int  // calls of Listening and Missing
	gap             bool // messages may be missing before the next one
	messages        int
}

// start starts a machine. It is closed with the test.
func start(t *testing.T, c redisplane.Config, urls ...string) *machine {
	t.Helper()
	m := &machine{Redis: newRedis(t, c, urls...), t: t, topics: make(map[string]*heard)}
	m.Start(m)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *machine) topic(name string) *heard {
	h := m.topics[name]
	if h == nil {
		h = &heard{}
		m.topics[name] = h
	}
	return h
}

func (m *machine) Receive(list []backplane.Message) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range list {
		n := 0
		for _, digit := range one.Payload {
			if digit == ' ' {
				break
			}
			n = 10*n + int(digit-'0')
		}
		h := m.topic(one.Topic)
		switch {
		case n == h.latest+1, h.gap:
		case n > h.latest:
			m.t.Errorf("%q: message %d comes after %d, and Missing was not called", one.Topic, n, h.latest)
		}
		if h.listening {
			h.gap = false
		}
		h.latest, h.largest = n, max(h.largest, n)
		h.messages++
	}
}

func (m *machine) Listening(topics []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range topics {
		h := m.topic(one)
		if h.listening {
			m.t.Errorf("%q: Listening is called twice", one)
		}
		h.listening = true
		h.begun++
		if h.begun == 1 {
			h.gap = true // what was published before
		}
	}
}

func (m *machine) Missing(topics []string, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range topics {
		h := m.topic(one)
		if !h.listening || cause == nil {
			m.t.Errorf("%q: Missing is called while it is not listened to: %v", one, cause)
		}
		h.listening, h.gap = false, true
		h.missed++
	}
}

// until waits until ok returns true for all topics.
func (m *machine) until(what string, topics []string, ok func(h *heard) bool) {
	m.t.Helper()
	redistest.Until(m.t, what, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, one := range topics {
			if !ok(m.topic(one)) {
				return false
			}
		}
		return true
	})
}

// subscribe subscribes and waits until all topics are listened to.
func (m *machine) subscribe(topics ...string) {
	m.t.Helper()
	m.Subscribe(topics...)
	m.until("all topics are listened to", topics, func(h *heard) bool { return h.listening })
}

// healthy waits until there is no error and nothing waits.
func (m *machine) healthy() {
	m.t.Helper()
	redistest.Until(m.t, "messages pass", func() bool {
		s := m.Status()
		return s.Err == nil && s.Queued == 0
	})
}

// count returns a sum over topics.
func (m *machine) count(topics []string, of func(h *heard) int) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range topics {
		n += of(m.topic(one))
	}
	return n
}

func missed(h *heard) int { return h.missed }

// traffic publishes numbered messages on topics until it is stopped.
type traffic struct {
	from   *machine
	topics []string
	next   []int
	stop   chan struct{}
	ended  sync.WaitGroup
}

func publish(from *machine, topics ...string) *traffic {
	p := &traffic{from: from, topics: topics, next: make([]int, len(topics)), stop: make(chan struct{})}
	p.ended.Go(func() { // ends with stop
		for {
			select {
			case <-p.stop:
				return
			case <-time.After(time.Millisecond):
			}
			for i := range topics {
				p.send(i)
			}
		}
	})
	from.t.Cleanup(p.end)
	return p
}

// send publishes the next message of a topic, or leaves it if the queue is full.
func (p *traffic) send(i int) {
	err := p.from.Publish(p.topics[i], strconv.AppendInt(nil, int64(p.next[i]+1), 10))
	switch {
	case err == nil:
		p.next[i]++
	case !errors.Is(err, backplane.ErrOverloaded):
		p.from.t.Errorf("Publish: %v", err)
	}
}

// end stops the traffic.
func (p *traffic) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.ended.Wait()
}

// settle stops the traffic, waits until everything works, and checks that messages arrive at all machines.
func (p *traffic) settle(to ...*machine) {
	p.from.t.Helper()
	p.end()
	p.from.healthy()
	for _, m := range to {
		m.until("all topics are listened to", p.topics, func(h *heard) bool { return h.listening })
	}
	for i := range p.topics {
		p.send(i)
	}
	for _, m := range to {
		for i, one := range p.topics {
			m.until("the last message arrives", []string{one}, func(h *heard) bool { return h.largest == p.next[i] })
		}
	}
}

// names returns a number of topics.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "topic/" + strconv.Itoa(i)
	}
	return list
}
