package relay

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
)

// medium is a backplane in memory. Messages arrive while they are published.
type medium struct {
	mu     sync.Mutex
	planes []*plane
	known  map[string]announced // the directory
	logs   map[stored]*log
	epochs uint64
	parts  int // 0 is 1
	gone   int // the part that is away, counted from 1
}

// plane is one machine's end of a medium.
type plane struct {
	*medium
	to     backplane.Receiver
	calls  chan func()
	closed chan struct{}
	topics map[string]bool
	server int            // the one that the topics of this machine are at
	cut    bool           // nothing arrives
	full   bool           // nothing is taken
	twice  bool           // everything arrives twice
	queued int64          // what Status tells
	ever   map[string]int // how often a topic was subscribed to
	stuck  bool           // appended messages wait
	waits  []func()
	never  bool // appended messages are refused for good
	vague  bool // publishers do not learn offsets
	away   bool // the history cannot be read
	deaf   int  // so many appended messages do not arrive
}

func (m *medium) plane() *plane {
	p := &plane{
		medium: m, topics: make(map[string]bool), ever: make(map[string]int), calls: make(chan func(), 1000),
		closed: make(chan struct{}),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.planes = append(m.planes, p)
	return p
}

func (p *plane) Start(r backplane.Receiver) {
	p.to = r
	go func() { // ends with Close
		for {
			select {
			case f := <-p.calls:
				f()
			case <-p.closed:
				return
			}
		}
	}()
}

func (p *plane) Publish(topic string, payload []byte) error {
	p.mu.Lock()
	if p.full {
		p.mu.Unlock()
		return backplane.ErrOverloaded
	}
	payload = slices.Clone(payload)
	var to []*plane
	for _, q := range p.planes {
		if q.topics[topic] && !q.cut && q.server == p.server && p.gone != 1+p.Part(topic) {
			to = append(to, q)
			if q.twice {
				to = append(to, q)
			}
		}
	}
	p.mu.Unlock()
	for _, q := range to {
		q.later(func() { q.to.Receive([]backplane.Message{{Topic: topic, Payload: slices.Clone(payload)}}) })
	}
	return nil
}

func (m *medium) Parts() int { return max(m.parts, 1) }

// Part spreads topics by their last byte.
func (m *medium) Part(topic string) int { return int(topic[len(topic)-1]) % m.Parts() }

// later calls f on another goroutine, after what was to be called before: the caller may hold locks.
func (p *plane) later(f func()) {
	select {
	case p.calls <- f:
	case <-p.closed:
	}
}

func (p *plane) Subscribe(topics ...string) {
	p.mu.Lock()
	for _, topic := range topics {
		p.topics[topic] = true
		p.ever[topic]++
	}
	cut := p.cut
	p.mu.Unlock()
	if !cut {
		p.later(func() { p.to.Listening(topics) })
	}
}

func (p *plane) Unsubscribe(topics ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range topics {
		delete(p.topics, topic)
	}
}

func (p *plane) Status() backplane.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return backplane.Status{Queued: p.queued}
}

func (p *plane) setQueued(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = n
}

func (p *plane) Close() error {
	p.mu.Lock()
	clear(p.topics)
	p.mu.Unlock()
	close(p.closed)
	return nil
}

// set changes a fault.
func (p *plane) set(fault *bool, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*fault = on
}

// setCut begins or ends an outage.
func (p *plane) setCut(cut bool) {
	p.mu.Lock()
	p.cut = cut
	topics := slices.Collect(maps.Keys(p.topics))
	p.mu.Unlock()
	p.later(func() {
		if cut {
			p.to.Missing(topics, fmt.Errorf("cut"))
		} else {
			p.to.Listening(topics)
		}
	})
	synctest.Wait()
}

// machine is a machine with one worker.
type machine struct {
	*Relay
	t        *testing.T
	plane    *plane
	hub      *broker.Hub
	port     *broker.Port
	local    *broker.Local
	interest *broker.Interest
	end      func()

	mu  sync.Mutex
	got []string
}

// newMachine starts a machine. Its node is its number.
func newMachine(t *testing.T, m *medium, node uint64) *machine {
	t.Helper()
	return newMachineWith(t, m, Config{Node: node}, nil)
}

// newMachineWith starts a machine, which may succeed another one.
func newMachineWith(t *testing.T, m *medium, c Config, state []byte) *machine {
	t.Helper()
	k := &machine{t: t, plane: m.plane(), hub: broker.NewHub(func(uint64) int { return 1 })}
	c.Machine, c.Backplane, c.Keep = connid.MachineOf(c.Node), k.plane, keep
	k.Relay = New(c, k.hub)
	if err := k.LoadState(state); err != nil {
		t.Fatal(err)
	}
	toHub := broker.LinkFunc(func(b []byte) error { k.port.Receive(b); return nil })
	k.local = broker.NewLocal(toHub, func(e broker.Envelope) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		switch e.Kind {
		case broker.Publish:
			said := e.Topic + " " + string(e.Payload)
			if e.At.Epoch != 0 {
				said += fmt.Sprintf(" @%d:%d", e.At.Epoch, e.At.Offset)
			}
			if e.Conn != 0 {
				said += fmt.Sprintf(" except %x", e.Conn)
			}
			k.got = append(k.got, said)
		case broker.Gap:
			k.got = append(k.got, fmt.Sprintf("%s gap %d", e.Topic, e.Conn))
		case broker.Past:
			k.got = append(k.got, pageText(&e))
		case broker.Send, broker.Close:
			k.got = append(k.got, fmt.Sprintf("%d %s", e.Kind, e.Payload))
		}
		return true
	})
	k.interest = broker.NewInterest(toHub, func() { go k.interest.Flush() })
	k.Start()
	inbox := make(chan []byte, 1000)
	go func() { // ends with the test
		for b := range inbox {
			k.local.Receive(b)
		}
	}()
	k.port = k.hub.Attach(1, broker.LinkFunc(func(b []byte) error {
		inbox <- slices.Clone(b)
		return nil
	}))
	k.end = sync.OnceFunc(func() {
		k.port.Detach()
		close(inbox)
		_ = k.Relay.Close()
	})
	t.Cleanup(k.end)
	return k
}

// subscribe makes the worker subscribe to a topic.
func (k *machine) subscribe(topic string) {
	k.interest.Set(topic, true)
	synctest.Wait()
}

// publish publishes in the worker.
func (k *machine) publish(topic string, texts ...string) {
	k.t.Helper()
	for _, text := range texts {
		if err := k.local.Publish(topic, 1, []byte(text)); err != nil {
			k.t.Fatal(err)
		}
	}
	synctest.Wait()
}

// wants checks what the worker has got since the last call.
func (k *machine) wants(want ...string) {
	k.t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.got, want) {
		k.t.Errorf("machine %d: got %q, want %q", k.Node, k.got, want)
	}
	k.got = nil
}

// pass lets time pass in the bubble of the test.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// settle waits until all machines have told what they owe.
func settle() { pass(time.Second) }
