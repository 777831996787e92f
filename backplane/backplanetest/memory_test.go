package backplanetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expedite-go/expedite/backplane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// medium connects Backplanes in memory.
type medium struct {
	mu   sync.Mutex
	all  []*memory
	logs map[string]*log
}

// memory is a Backplane that passes messages in memory. fault, if it is not empty, is what it does wrong.
type memory struct {
	medium *medium
	fault  string
	wake   chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	started bool
	closed  bool
	topics  map[string]bool
	waits   []func(backplane.Receiver)
	status  backplane.Status
}

func (m *medium) join(fault string) *memory {
	one := &memory{medium: m, fault: fault, wake: make(chan struct{}, 1), topics: make(map[string]bool)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, one)
	return one
}

func (m *memory) Start(r backplane.Receiver) {
	m.mu.Lock()
	m.started = true
	m.mu.Unlock()
	m.ended.Go(func() { // ends with Close
		for range m.wake {
			m.mu.Lock()
			waits := m.waits
			m.waits = nil
			m.mu.Unlock()
			for _, one := range waits {
				m.mu.Lock()
				closed := m.closed
				m.mu.Unlock()
				if !closed {
					one(r)
				}
			}
		}
	})
}

// add adds a call of the Receiver. The caller has the lock.
func (m *memory) add(f func(backplane.Receiver)) {
	if m.closed {
		return
	}
	m.waits = append(m.waits, f)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *memory) Publish(topic string, payload []byte) error {
	err := m.check(topic, payload)
	if err != nil {
		return err
	}
	if m.fault != "keeps the payload" {
		payload = append([]byte(nil), payload...)
	}
	m.medium.mu.Lock()
	defer m.medium.mu.Unlock()
	for _, one := range m.medium.all {
		if m.fault != "is deaf to itself" || one != m {
			one.receive(backplane.Message{Topic: topic, Payload: payload})
		}
	}
	return nil
}

func (m *memory) check(topic string, payload []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed || !m.started:
		return backplane.ErrClosed
	case (len(topic) > backplane.MaxTopic || len(payload) > backplane.MaxPayload) && m.fault != "has no limits":
		m.status.Refused++
		return backplane.ErrTooLarge
	}
	m.status.Published++
	return nil
}

func (m *memory) receive(one backplane.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.topics[one.Topic] && m.fault != "receives everything" {
		return
	}
	m.status.Received++
	if m.fault == "loses a message" && m.status.Received == 100 {
		return
	}
	m.add(func(r backplane.Receiver) { r.Receive([]backplane.Message{one}) })
	if m.fault == "repeats" {
		m.add(func(r backplane.Receiver) { r.Receive([]backplane.Message{one}) })
	}
}

func (m *memory) Subscribe(topics ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range topics {
		if !m.topics[one] || m.fault == "listens twice" {
			m.topics[one] = true
			m.add(func(r backplane.Receiver) { r.Listening([]string{one}) })
		}
	}
}

func (m *memory) Unsubscribe(topics ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range topics {
		if m.fault != "never unsubscribes" {
			delete(m.topics, one)
		}
	}
}

func (m *memory) Status() backplane.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	if m.closed {
		s.Err = backplane.ErrClosed
	}
	return s
}

func (m *memory) Close() error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.mu.Unlock()
	if !again {
		close(m.wake)
	}
	m.ended.Wait()
	if again && m.fault == "cannot be closed twice" {
		return errors.New("closed already")
	}
	return nil
}

// TestMemory: the suite is not tied to a medium.
func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) (a, b backplane.Backplane) {
		m := &medium{}
		return m.join(""), m.join("")
	})
}

// TestFaults: each fault is found by a test of the suite.
func TestFaults(t *testing.T) {
	for fault, finds := range map[string]string{
		"keeps the payload":      "Order",
		"loses a message":        "ConcurrentPublishers",
		"repeats":                "Order",
		"is deaf to itself":      "OwnMessages",
		"receives everything":    "Interest",
		"never unsubscribes":     "Unsubscribe",
		"listens twice":          "SubscribeTwice",
		"has no limits":          "Limits",
		"cannot be closed twice": "CloseInTraffic",
	} {
		t.Run(fault, func(t *testing.T) {
			testFault(t, suite(), fault, finds)
		})
	}
}

// testFault checks that a test of a suite finds a fault.
func testFault(t *testing.T, tests []test, fault, finds string) {
	t.Helper()
	i := slices.IndexFunc(tests, func(one test) bool { return one.name == finds })
	m := &medium{}
	p := &probe{TB: t}
	p.run(func() { tests[i].run(p, time.Second, m.join(fault), m.join(fault)) })
	if !p.failed {
		t.Errorf("%s does not find it", finds)
	}
}
