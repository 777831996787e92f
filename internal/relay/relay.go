package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
)

// Config configures a Relay.
type Config struct {
	// Node names this machine among all, and in all processes that its primary becomes.
	Node uint64
	// Machine is the number of this machine in the ids of connections.
	Machine   int
	Backplane backplane.Backplane
	// Presence takes announcements; nil: nobody wants to know.
	Presence Presence
	// Succeeds tells that the workers were started by the program before: nothing is delivered to them before CatchUp.
	Succeeds bool
	// Keep returns how much a topic keeps, and false for most topics. It is used if the Backplane is a backplane.History.
	// Nil is no topic.
	Keep func(topic string) (backplane.Retention, bool)
	// EndBridge ends the Bridge that has listened since the program before; it blocks until everything from it was taken.
	// Nil is none.
	EndBridge func(ctx context.Context) error
}

// Relay connects the hub of this machine with other machines. It is safe for concurrent use.
type Relay struct {
	Config
	hub   *broker.Hub
	start time.Time
	all   []string // the ways to all machines

	mu        sync.Mutex // after that of the hub, and before those of the backplane
	senders   senders
	receivers map[string]*receiver
	scratch   []byte
	stats     Stats
	leaving   map[string]struct{} // topics of receivers that are not wanted
	suspended bool                // messages for other machines wait in unsent
	unsent    unsent
	inherited map[string]*receiver
	queued    bool                // the program before left messages in the queue of its backplane, which are lost
	silent    map[string]struct{} // topics that were inherited and are not listened to yet
	plan      plan
	marks     marks
	asked     map[uint64]*question
	lastAsk   uint64
	replying  int    // questions of other machines that are being answered
	questions recent // of other machines
	past      histories

	// gate is held for reading while messages are taken, and for writing to change what is held.
	gate sync.RWMutex
	held *held // nil: messages are taken at once
	// early is what a bridge brings before this program is suspended: the backplane may bring what is older only later.
	// nil: it is taken at once.
	early *held
	// order is held while messages are taken: a bridge and the backplane may bring those of one topic at the same time.
	order sync.Mutex

	self       atomic.Pointer[Self]
	introduced chan struct{}

	heard  chan struct{} // closed when there are no silent topics any more
	caught chan struct{} // closed at the end of CatchUp
	wake   chan struct{}
	done   chan struct{}
	task   sync.WaitGroup
}

// The topics of machines; ways adds others to them. Those of applications do not begin with a zero byte.
const (
	topicAll     = "\x00all"
	topicMachine = "\x00machine:"
)

// New returns a Relay for a hub, which it joins. Start starts it.
func New(c Config, hub *broker.Hub) *Relay {
	r := &Relay{
		Config: c, hub: hub, start: time.Now(), all: ways(c.Backplane, topicAll), senders: newSenders(),
		receivers: make(map[string]*receiver),
		leaving:   make(map[string]struct{}), silent: make(map[string]struct{}),
		asked: make(map[uint64]*question), lastAsk: rand.Uint64() >> 1, introduced: make(chan struct{}, 1),
		heard: make(chan struct{}), caught: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	r.marks.start(rand.Uint64() >> 1)
	hub.Join(r)
	if plane, ok := c.Backplane.(backplane.History); ok && c.Keep != nil {
		r.past = histories{
			plane: plane, publisher: rand.Uint64(), series: make(map[string]*series),
			busy: make(map[string]struct{}), omitted: make(map[string]uint64), paused: c.Succeeds, said: newSaid(),
		}
		hub.Keep(r)
	}
	return r
}

// Start connects to the other machines. Close ends that.
func (r *Relay) Start() {
	if r.Succeeds {
		r.held = new(held)
	} else {
		close(r.caught)
	}
	r.Backplane.Start(r)
	r.sendUnsent()
	r.task.Go(r.run)
	if d, ok := r.Backplane.(backplane.Directory); ok {
		r.task.Go(func() { r.announce(d) })
	}
	r.resume()
	for _, topic := range slices.Concat(r.all, ways(r.Backplane, machineTopic(r.Machine))) {
		r.Want(topic, true)
	}
}

// Close leaves the other machines.
func (r *Relay) Close() error {
	r.mu.Lock()
	close(r.done)
	r.mu.Unlock()
	r.task.Wait()
	r.retire()
	if err := r.Backplane.Close(); err != nil {
		return fmt.Errorf("expedite: backplane: %w", err)
	}
	return nil
}

// now returns the time since the relay began.
func (r *Relay) now() time.Duration { return time.Since(r.start) }

// isOwn reports whether a topic is one of the relays themselves.
func isOwn(topic string) bool {
	return topic == topicAll || strings.HasPrefix(topic, topicAll+wayMark) || strings.HasPrefix(topic, topicMachine)
}

func machineTopic(machine int) string { return fmt.Sprintf("%s%04x", topicMachine, machine) }

// Publish implements broker.Machines.
func (r *Relay) Publish(topic []byte, opcode byte, payload []byte, except uint64) {
	if string(topic) == broker.TopicAssignments {
		r.assign(payload)
		return
	}
	m := message{kind: publication, opcode: opcode, data: payload}
	if except != 0 && connid.ID(except).Machine() != r.Machine { // else no other machine has that connection
		m.kind, m.except = exception, except
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(topic, m)
}

// assign sends an assignment to the machines that may have its connections.
func (r *Relay) assign(payload []byte) {
	a, err := broker.ParseAssignment(payload)
	to := topicAll
	switch {
	case err != nil || a.Conn != 0 && connid.ID(a.Conn).Machine() == r.Machine:
		return
	case a.Conn != 0:
		to = machineTopic(connid.ID(a.Conn).Machine())
	case a.Of != "":
		to = a.Of
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send([]byte(to), message{kind: assignment, data: payload})
}

// Direct implements broker.Machines.
func (r *Relay) Direct(conn uint64, envelope []byte) (elsewhere bool) {
	machine := connid.ID(conn).Machine()
	if machine == r.Machine {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send([]byte(machineTopic(machine)), message{kind: directed, data: envelope})
	return true
}

// send numbers a message and sends it. If the backplane refuses it, the receivers learn of that later, from a position.
func (r *Relay) send(topic []byte, m message) {
	to := r.senders.next(topic, r.now())
	m.node, m.stream, m.seq = r.Node, to.stream, to.seq
	r.scratch = m.append(r.scratch[:0])
	err := r.out(string(topic), r.scratch)
	if cap(r.scratch) > maxKept {
		r.scratch = nil
	}
	if err == nil {
		r.stats.Sent++
		return
	}
	r.stats.Refused++
	if errors.Is(err, backplane.ErrOverloaded) {
		r.senders.owed[string(topic)] = struct{}{}
		r.plan.owed.at(r.now() + owedPause)
		r.signal()
	}
}

// maxKept is the largest buffer that is kept for the next message, in bytes.
const maxKept = 64 << 10

// Receive implements backplane.Receiver.
func (r *Relay) Receive(list []backplane.Message) {
	for {
		r.gate.RLock()
		if r.held == nil {
			r.take(list, false)
			r.gate.RUnlock()
			return
		}
		r.gate.RUnlock()
		if r.hold(list) {
			return
		}
	}
}

// take takes messages of other machines, from the backplane or from a bridge.
func (r *Relay) take(list []backplane.Message, bridged bool) {
	r.order.Lock()
	defer r.order.Unlock()
	for i := range list {
		if list[i].At.Offset != 0 {
			r.takeKept(&list[i])
			continue
		}
		if isAnnouncement(list[i].Payload) {
			r.tellNews(list[i].Topic, list[i].Payload)
			continue
		}
		m, err := parse(list[i].Payload)
		if err != nil {
			r.mu.Lock()
			r.stats.Malformed++
			r.mu.Unlock()
			continue
		}
		switch {
		case m.node != r.Node:
			r.receive(list[i].Topic, &m)
		case m.kind == mark:
			r.marked(m.seq, bridged)
		}
	}
}

// receive takes a message of another machine. Messages on one topic are taken one after the other.
func (r *Relay) receive(topic string, m *message) {
	switch m.kind {
	case mark: // of a machine with the same number
		return
	case omitted:
		r.count(func(s *Stats) { s.Gaps, s.Missed = s.Gaps+1, s.Missed+m.seq })
		r.hub.Lost(topic, m.seq)
		return
	case resync:
		r.mu.Lock()
		r.answer(r.now() - m.age)
		r.mu.Unlock()
		return
	case asks:
		r.hearQuestion(topic, m)
		return
	case answers:
		r.hearAnswer(m)
		return
	}
	v, ok := r.judge(topic, m)
	if !ok {
		return
	}
	if v.gap && !isOwn(topic) {
		r.hub.Lost(topic, v.missed)
	}
	switch m.kind {
	case assignment:
		r.hub.Heard(broker.TopicAssignments, 0, m.data, 0)
	case publication, exception:
		r.hub.Heard(topic, m.opcode, m.data, m.except)
	case directed:
		if r.hub.Arrived(m.data) != nil {
			r.count(func(s *Stats) { s.Malformed++ })
		}
	}
}

// judge examines the number of a message and counts it. It reports false if the message must be dropped.
func (r *Relay) judge(topic string, m *message) (v verdict, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.receivers[topic]
	if from == nil { // it was unsubscribed
		return v, false
	}
	if m.kind == position {
		v = from.place(m, r.now()-m.age)
	} else {
		v = from.hear(m)
	}
	switch {
	case v.repeated && m.kind != position:
		r.stats.Repeated++
	case m.kind != position:
		r.stats.Heard++
	}
	switch {
	case v.gap && isOwn(topic):
		r.stats.LostDirected += v.missed
	case v.gap:
		r.stats.Gaps++
		r.stats.Missed += v.missed
	}
	return v, !v.repeated
}

func (r *Relay) count(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

var (
	_ broker.Machines    = (*Relay)(nil)
	_ backplane.Receiver = (*Relay)(nil)
)
