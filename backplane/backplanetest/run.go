package backplanetest

import (
	"errors"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// patience limits every wait. A test that reaches it has failed.
const patience = 60 * time.Second

// Run runs all tests, each with two Backplanes that open returns. They use one medium, as two machines do, which no
// other test uses. Start was not called. Payloads of backplane.MaxPayload must pass. If they implement
// backplane.Directory, backplane.Presence or backplane.Divided, that is tested, too. Run closes the Backplanes.
func Run(t *testing.T, open func(t *testing.T) (a, b backplane.Backplane)) {
	runAll(t, suite(), open)
}

// RunHistory runs the tests of backplane.History, as Run does those of backplane.Backplane. Both Backplanes implement
// it.
func RunHistory(t *testing.T, open func(t *testing.T) (a, b backplane.Backplane)) {
	runAll(t, historySuite(), open)
}

func runAll(t *testing.T, tests []test, open func(t *testing.T) (a, b backplane.Backplane)) {
	for _, one := range tests {
		t.Run(one.name, func(t *testing.T) {
			a, b := open(t)
			one.run(t, patience, a, b)
		})
	}
}

// test is a test of the suite.
type test struct {
	name    string
	test    func(*bench)
	stopped bool // the test calls Start itself
}

func suite() []test {
	return []test{
		{name: "Order", test: testOrder},
		{name: "OwnMessages", test: testOwnMessages},
		{name: "Interest", test: testInterest},
		{name: "Unsubscribe", test: testUnsubscribe},
		{name: "SubscribeTwice", test: testSubscribeTwice},
		{name: "SubscribeAgain", test: testSubscribeAgain},
		{name: "QuickChanges", test: testQuickChanges},
		{name: "Payloads", test: testPayloads},
		{name: "Topics", test: testTopics},
		{name: "ManyTopics", test: testManyTopics},
		{name: "Limits", test: testLimits},
		{name: "Counters", test: testCounters},
		{name: "ConcurrentPublishers", test: testConcurrentPublishers},
		{name: "SlowReceiver", test: testSlowReceiver},
		{name: "CloseInTraffic", test: testCloseInTraffic},
		{name: "Directory", test: testDirectory},
		{name: "DirectoryLimits", test: testDirectoryLimits},
		{name: "Presence", test: testPresence},
		{name: "PresenceNames", test: testPresenceNames},
		{name: "PresenceMax", test: testPresenceMax},
		{name: "PresenceRetire", test: testPresenceRetire},
		{name: "PresenceReap", test: testPresenceReap},
		{name: "PresenceRestore", test: testPresenceRestore},
		{name: "PresenceLimits", test: testPresenceLimits},
		{name: "PresenceParts", test: testPresenceParts},
		{name: "Parts", test: testParts, stopped: true},
		{name: "NotStarted", test: testNotStarted, stopped: true},
	}
}

// run runs a test with two Backplanes.
func (one test) run(t testing.TB, patience time.Duration, a, b backplane.Backplane) {
	s := &bench{TB: t, patience: patience, a: &machine{Backplane: a}, b: &machine{Backplane: b}}
	for _, m := range []*machine{s.a, s.b} {
		m.got = newReceiver(t)
		if !one.stopped {
			m.Start(m.got)
		}
		t.Cleanup(func() { s.close(m) })
	}
	one.test(s)
}

// bench is the machines of one test.
type bench struct {
	testing.TB
	patience time.Duration
	a, b     *machine
}

// machine is a Backplane and what it has received.
type machine struct {
	backplane.Backplane
	got *receiver
}

// close closes a machine, which must not call the Receiver any more.
func (s *bench) close(m *machine) {
	if err := m.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	m.got.close()
}

// publish publishes a message, and waits for room.
func (s *bench) publish(m *machine, topic string, payload []byte) {
	s.Helper()
	for deadline := time.Now().Add(s.patience); ; {
		err := m.Publish(topic, payload)
		if err == nil {
			return
		}
		if !errors.Is(err, backplane.ErrOverloaded) || time.Now().After(deadline) {
			s.Fatalf("Publish: %v", err)
		}
		<-time.After(time.Millisecond)
	}
}

// subscribe subscribes to topics and waits until all are listened to.
func (s *bench) subscribe(m *machine, topics ...string) {
	s.Helper()
	m.Subscribe(topics...)
	s.until(m, "all topics are listened to", func(r *receiver) bool {
		for _, one := range topics {
			if !r.topic(one).listening {
				return false
			}
		}
		return true
	})
}

// until waits until ok returns true, which is called with the lock of the receiver.
func (s *bench) until(m *machine, what string, ok func(r *receiver) bool) {
	s.Helper()
	deadline := time.NewTimer(s.patience)
	defer deadline.Stop()
	for {
		m.got.mu.Lock()
		done, changed := ok(m.got), m.got.changed
		m.got.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			s.Fatalf("waited in vain until %s; the state is %+v", what, m.Status())
		}
	}
}

// received waits for a number of messages of a topic, and returns them.
func (s *bench) received(m *machine, topic string, n int) []string {
	s.Helper()
	var list []string
	s.until(m, "messages arrive", func(r *receiver) bool {
		list = r.topic(topic).payloads
		return len(list) >= n
	})
	if len(list) != n {
		s.Errorf("%q: got %d messages, want %d", short(topic), len(list), n)
	}
	return list
}

// short returns the beginning of a text.
func short(text string) string { return text[:min(len(text), 40)] }
