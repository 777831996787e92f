package backplanetest

import (
	"sync"
	"testing"

	"github.com/expedite-go/expedite/backplane"
)

// receiver records what a Backplane calls, and checks that calls for a topic do not overlap.
type receiver struct {
	t testing.TB

	mu      sync.Mutex
	topics  map[string]*topic
	closed  bool
	changed chan struct{} // closed at the next change
	gate    chan struct{} // if not nil, Receive waits until it is closed
}

// topic is what was received of a topic.
type topic struct {
	payloads  []string
	at        []backplane.Position // of each of them
	listening bool
	begun     int // calls of Listening
	calls     int // under way
}

func newReceiver(t testing.TB) *receiver {
	return &receiver{t: t, topics: make(map[string]*topic), changed: make(chan struct{})}
}

// topic returns a topic. The caller has the lock.
func (r *receiver) topic(name string) *topic {
	one := r.topics[name]
	if one == nil {
		one = &topic{}
		r.topics[name] = one
	}
	return one
}

// enter records the beginning of a call.
func (r *receiver) enter(what string, topics []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.t.Errorf("%s was called after Close", what)
	}
	for _, name := range topics {
		one := r.topic(name)
		if one.calls++; one.calls > 1 {
			r.t.Errorf("%s overlaps with another call for %q", what, short(name))
		}
	}
}

// leave records the end of a call, after change.
func (r *receiver) leave(topics []string, change func(t *topic)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range topics {
		one := r.topic(name)
		one.calls--
		change(one)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// Receive implements backplane.Receiver.
func (r *receiver) Receive(list []backplane.Message) {
	if len(list) == 0 {
		r.t.Errorf("Receive was called without a message")
	}
	seen := make(map[string][]string)
	at := make(map[string][]backplane.Position)
	var names []string
	for _, m := range list {
		if _, known := seen[m.Topic]; !known {
			names = append(names, m.Topic)
		}
		seen[m.Topic] = append(seen[m.Topic], string(m.Payload))
		at[m.Topic] = append(at[m.Topic], m.At)
	}
	r.enter("Receive", names)
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	i := 0
	r.leave(names, func(t *topic) {
		t.payloads = append(t.payloads, seen[names[i]]...)
		t.at = append(t.at, at[names[i]]...)
		i++
	})
}

// Listening implements backplane.Receiver.
func (r *receiver) Listening(topics []string) {
	r.enter("Listening", topics)
	r.leave(topics, func(t *topic) {
		t.listening = true
		t.begun++
	})
}

// Missing implements backplane.Receiver.
func (r *receiver) Missing(topics []string, cause error) {
	if cause == nil {
		r.t.Errorf("Missing without a cause")
	}
	r.enter("Missing", topics)
	r.leave(topics, func(t *topic) { t.listening = false })
}

// close makes every later call an error.
func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// forget makes a topic one that is not listened to.
func (r *receiver) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topic(name).listening = false
}

var _ backplane.Receiver = (*receiver)(nil)
