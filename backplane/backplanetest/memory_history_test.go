package backplanetest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// log is the history of a topic in a medium.
type log struct {
	epoch, begin, head uint64
	entries            []stored
	last               map[uint64]backplane.Key // by publisher; Publisher is the offset
}

type stored struct {
	backplane.Entry
	at time.Time
}

// log returns the history of a topic. The caller has the lock.
func (m *medium) log(topic string) *log {
	if m.logs == nil {
		m.logs = make(map[string]*log)
	}
	l := m.logs[topic]
	if l == nil {
		l = &log{epoch: rand.Uint64() | 1, last: make(map[uint64]backplane.Key)}
		m.logs[topic] = l
	}
	return l
}

// take takes a message, and reports false for a repetition.
func (l *log) take(one backplane.Append, fault string) (at backplane.Position, taken bool) {
	last := l.last[one.Key.Publisher]
	switch {
	case fault == "takes repetitions" || one.Key.Number > last.Number:
	case one.Key.Number == last.Number:
		return backplane.Position{Epoch: l.epoch, Offset: last.Publisher}, false
	default:
		return backplane.Position{Epoch: l.epoch}, false
	}
	if l.head++; fault == "skips an offset" && l.head == 100 {
		l.head++
	}
	l.last[one.Key.Publisher] = backplane.Key{Publisher: l.head, Number: one.Key.Number}
	l.entries = append(l.entries, stored{backplane.Entry{Offset: l.head, Payload: one.Payload}, time.Now()})
	if n := len(l.entries) - one.Keep.Messages; n > 0 && fault != "stores everything" {
		l.entries = l.entries[n:]
	}
	return backplane.Position{Epoch: l.epoch, Offset: l.head}, true
}

func (m *memory) Append(topic string, one backplane.Append, done func(backplane.Position, error)) error {
	err := m.check(topic, one.Payload)
	if err != nil {
		return err
	}
	one.Payload = slices.Clone(one.Payload)
	m.medium.mu.Lock()
	defer m.medium.mu.Unlock()
	l := m.medium.log(topic)
	if m.fault == "forgets publishers" && len(l.last) > 100 {
		clear(l.last)
	}
	at, taken := l.take(one, m.fault)
	if taken {
		message := backplane.Message{Topic: topic, Payload: one.Payload, At: at}
		if m.fault == "tells no positions" {
			message.At = backplane.Position{}
		}
		for i := range m.medium.all {
			if m.fault == "has two orders" && rand.IntN(2) == 0 {
				i = len(m.medium.all) - 1 - i
			}
			m.medium.all[i].receive(message)
		}
	}
	m.later(func() { done(at, nil) })
	return nil
}

func (m *memory) Read(topic string, what backplane.Range, done func(backplane.Page, error)) error {
	err := m.check(topic, nil)
	if err != nil {
		return err
	}
	m.medium.mu.Lock()
	defer m.medium.mu.Unlock()
	l := m.medium.log(topic)
	p := backplane.Page{Epoch: l.epoch, Begin: l.begin, Head: l.head}
	after := what.After
	if what.Newest > 0 {
		after = l.head - min(l.head, uint64(what.Newest))
	}
	if m.fault != "stores everything" {
		after = max(after, l.head-min(l.head, uint64(what.Keep.Messages)))
	}
	size := 0
	for _, one := range l.entries {
		if one.Offset <= after || m.fault != "keeps for ever" && time.Since(one.at) > what.Keep.For {
			continue
		}
		size += len(one.Payload)
		full := what.Messages > 0 && len(p.Entries) == what.Messages || what.Bytes > 0 && size > what.Bytes
		if full && len(p.Entries) > 0 && m.fault != "has pages of any size" {
			break
		}
		p.Entries = append(p.Entries, one.Entry)
	}
	if m.fault == "forgets epochs" && l.head == 0 {
		delete(m.medium.logs, topic)
	}
	m.later(func() { done(p, nil) })
	return nil
}

func (m *memory) Renew(topic string, epoch uint64, done func(backplane.Page, error)) error {
	err := m.check(topic, nil)
	if err != nil {
		return err
	}
	m.medium.mu.Lock()
	defer m.medium.mu.Unlock()
	l := m.medium.log(topic)
	if l.epoch == epoch || m.fault == "renews again" {
		l.epoch, l.begin = rand.Uint64()|1, l.head
	}
	p := backplane.Page{Epoch: l.epoch, Begin: l.begin, Head: l.head}
	m.later(func() { done(p, nil) })
	return nil
}

// later has f called by the goroutine of the memory.
func (m *memory) later(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(func(backplane.Receiver) { f() })
}

// TestMemoryHistory: the suite of histories is not tied to a medium.
func TestMemoryHistory(t *testing.T) {
	RunHistory(t, func(*testing.T) (a, b backplane.Backplane) {
		m := &medium{}
		return m.join(""), m.join("")
	})
}

// TestHistoryFaults: each fault of a history is found by a test of the suite.
func TestHistoryFaults(t *testing.T) {
	for fault, finds := range map[string]string{
		"skips an offset":       "Positions",
		"tells no positions":    "Positions",
		"takes repetitions":     "Repetition",
		"forgets publishers":    "Publishers",
		"has two orders":        "OneOrder",
		"has pages of any size": "Pages",
		"stores everything":     "Trimmed",
		"keeps for ever":        "Expired",
		"forgets epochs":        "Nothing",
		"renews again":          "Renew",
		"has no limits":         "HistoryLimits",
		"loses a message":       "OneOrder",
		"repeats":               "Positions",
	} {
		t.Run(fault, func(t *testing.T) {
			testFault(t, historySuite(), fault, finds)
		})
	}
}

var _ backplane.History = (*memory)(nil)
