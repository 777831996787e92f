package presence

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/topic"
)

const (
	// DefaultMax is the number of pairs of a topic and a member on a machine.
	DefaultMax = 250_000
	// DefaultListed is Rule.MaxListed.
	DefaultListed = 1000
	// defaultGrace is how long a member without a subscription is present.
	defaultGrace = 2 * time.Second
	// maxInbox is the size of what waits for the Server, in bytes.
	maxInbox = 32 << 20
	// share of the inbox that is taken at a time: queries and the status come in between.
	inboxPart = 512
	// settleLimit is how long a Server that has succeeded another one waits for the workers to tell everything.
	settleLimit = 10 * time.Second
)

// Hub is the part of broker.Hub that a Server needs.
type Hub interface {
	// Change tells the subscribers of a topic of an event.
	Change(topic string, event []byte)
	// Lost tells the subscribers of a topic that they have missed events.
	Lost(topic string, missed uint64)
	// Ask asks a worker for everything.
	Ask(port uint64)
}

// Config configures a Server.
type Config struct {
	Rules *topic.Rules[*Rule]
	// Max is the number of pairs of a topic and a member. 0 is DefaultMax.
	Max int
	// Grace is how long a member without a subscription is present. 0 is 2 s.
	Grace time.Duration
	Hub   Hub
	// Plane knows who is in topics on all machines; nil: there are no others. It may be a backplane.Divided, too. Prefix
	// begins its announcements. Lease is how long the members of a machine are present that has died; 0 is DefaultLease.
	Plane  backplane.Presence
	Prefix []byte
	Lease  time.Duration
	// Log is told once when other machines are not told of members, and once when they are again. Nil discards that.
	Log *slog.Logger
}

// Server is the presence of a machine. It is safe for concurrent use.
type Server struct {
	cfg    Config
	start  time.Time
	parts  []*part // of the store; none without other machines
	partOf func(topic string) int

	inboxMu sync.Mutex
	inbox   []item
	size    int             // of inbox, in bytes
	lossy   map[uint64]bool // ports of which something was dropped
	dropped uint64

	mu     sync.Mutex // before none
	roster *Roster
	ports  map[uint64]bool // workers, and whether they have told everything
	events []told
	stats  Stats
	before *before // what the program before has left; nil when the workers have told everything

	gate sync.Mutex // held while something is taken or told, and between Suspend and Resume
	wake chan struct{}
	done chan struct{}
	task sync.WaitGroup
}

// item is something that the hub has received, or a worker that has come or gone.
type item struct {
	kind    broker.Kind // 0: the worker has come; broker.Close: it has gone; broker.Change: an announcement
	port    uint64
	topic   string
	payload []byte
}

func announcement(topic string, payload []byte) item {
	return item{kind: broker.Change, topic: topic, payload: bytes.Clone(payload)}
}

// told is an event that was not told yet, or a number of events that were missed.
type told struct {
	topic  string
	missed uint64
	Event
}

// Stats are the figures of a Server. All but Topics and Members only grow.
type Stats struct {
	// Topics and Members are those of this machine; a member counts once for each topic.
	Topics, Members int
	// Joins and Leaves count the changes on this machine, and Refused the members beyond the limit.
	Joins, Leaves, Refused uint64
	// Dropped counts what did not fit into the queue. The workers told it again.
	Dropped uint64

	// Shared tells that there are other machines, and Err why they are not told of some topics at present.
	Shared bool
	Err    error
	// Attendances counts how often everybody was told to the store, Restored the topics of which it had lost its memory,
	// Reaped the machines that had died, Heard the events of all machines, and Missed those that did not arrive.
	Attendances, Restored, Reaped, Heard, Missed uint64
}

// Counters returns the counters by name.
func (s *Stats) Counters() map[string]uint64 {
	c := map[string]uint64{"joins": s.Joins, "leaves": s.Leaves, "refused": s.Refused, "dropped": s.Dropped}
	if s.Shared {
		for name, n := range map[string]uint64{
			"attendances": s.Attendances, "restored": s.Restored, "reaped": s.Reaped, "heard": s.Heard, "missed": s.Missed,
		} {
			c[name] = n
		}
	}
	return c
}

// NewServer returns a Server. Start starts it.
func NewServer(c Config) *Server {
	if c.Max == 0 {
		c.Max = DefaultMax
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	s := &Server{
		cfg: c, start: time.Now(), lossy: make(map[uint64]bool), ports: make(map[uint64]bool),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if c.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if c.Lease == 0 {
		s.cfg.Lease = DefaultLease
	}
	s.divide()
	s.roster = NewRoster(c.Rules, c.Max, c.Grace, s.changed)
	return s
}

// Start starts the Server. Close ends that.
func (s *Server) Start() {
	s.task.Go(s.run)
	if len(s.parts) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.task.Go(func() { // ends with Close
		<-s.done
		cancel()
	})
	for _, p := range s.parts {
		s.task.Go(func() { p.share(ctx) }) // ends with ctx
	}
}

// Close ends Start. With other machines, the members of this one leave when their grace has passed.
func (s *Server) Close() {
	close(s.done)
	s.task.Wait()
	s.mu.Lock()
	present := s.roster.members > 0
	var attended []*part
	for _, p := range s.parts {
		if len(p.former) > 0 && p.err == nil {
			attended = append(attended, p)
		}
	}
	s.mu.Unlock()
	if present && len(attended) > 0 {
		<-time.After(s.cfg.Grace)
	}
	var all sync.WaitGroup
	for _, p := range attended {
		all.Go(func() { _ = p.retire(context.Background(), true) }) // else other machines do
	}
	all.Wait()
}

// now returns the time since the Server was made.
func (s *Server) now() time.Duration { return time.Since(s.start) }

// Attached implements broker.Presence.
func (s *Server) Attached(port uint64) { s.put(item{port: port}) }

// Detached implements broker.Presence.
func (s *Server) Detached(port uint64) { s.put(item{kind: broker.Close, port: port}) }

// Received implements broker.Presence.
func (s *Server) Received(port uint64, kind broker.Kind, name string, payload []byte) {
	s.put(item{kind, port, name, bytes.Clone(payload)})
}

// put queues an item. What a worker tells is dropped if too much waits: it is asked again.
func (s *Server) put(i item) {
	s.inboxMu.Lock()
	defer s.inboxMu.Unlock()
	size := len(i.topic) + len(i.payload)
	switch {
	case i.kind == 0 || i.kind == broker.Close: // there are few
	case s.lossy[i.port]:
		s.dropped++
		return
	case s.size+size > maxInbox:
		s.lossy[i.port] = true
		s.dropped++
		s.signal()
		return
	}
	s.inbox, s.size = append(s.inbox, i), s.size+size
	s.signal()
}

func (s *Server) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run takes what comes, and lets members leave when their time has come, until Close.
func (s *Server) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.gate.Lock()
		s.take()
		next := s.expire()
		s.gate.Unlock()
		if next > 0 {
			timer.Reset(max(next-s.now(), time.Millisecond))
		}
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.done:
			return
		}
	}
}

// Suspend prepares the replacement of the program: nothing changes and nothing is told until Resume.
func (s *Server) Suspend() { s.gate.Lock() }

// Resume ends Suspend.
func (s *Server) Resume() { s.gate.Unlock() }

// take takes what is in the inbox.
func (s *Server) take() {
	s.inboxMu.Lock()
	list, lossy := s.inbox, s.lossy
	s.inbox, s.size = nil, 0
	if len(lossy) > 0 {
		s.lossy = make(map[uint64]bool)
	}
	s.inboxMu.Unlock()
	for len(list) > 0 {
		part := list[:min(len(list), inboxPart)]
		list = list[len(part):]
		s.mu.Lock()
		for i := range part {
			s.accept(&part[i])
		}
		s.mu.Unlock()
		s.tell()
		for i := range part {
			if part[i].kind == broker.Close {
				s.detach(part[i].port)
			}
		}
	}
	for port := range lossy { // what it tells again is in time
		if port == inherited { // announcements, which are missed
			continue
		}
		s.detach(port)
		s.cfg.Hub.Ask(port)
	}
}

// accept takes an item. s.mu must be held.
func (s *Server) accept(i *item) {
	switch i.kind {
	case 0:
		s.ports[i.port] = false
	case broker.Close:
		delete(s.ports, i.port)
	case broker.Change:
		s.hear(i.topic, i.payload)
	case broker.Told:
		if _, known := s.ports[i.port]; known {
			s.ports[i.port] = true
		}
	case broker.Leave:
		s.roster.Leave(i.port, i.topic, string(i.payload), s.now())
	case broker.Enter:
		if _, known := s.ports[i.port]; !known {
			return
		}
		if m, err := parseMember(i.payload); err == nil {
			s.roster.Enter(i.port, i.topic, m, s.before.covers(i.topic))
		}
	}
}

// detach records that a worker has no subscriptions any more, one topic after the other.
func (s *Server) detach(port uint64) {
	s.mu.Lock()
	topics := s.roster.Topics()
	s.mu.Unlock()
	for _, name := range topics {
		s.mu.Lock()
		s.roster.Detach(port, name, s.now())
		s.mu.Unlock()
	}
}

// expire lets members leave, and returns when that is due next; 0 is never.
func (s *Server) expire() (next time.Duration) {
	settled := s.settle()
	if settled {
		s.detach(inherited)
	}
	s.mu.Lock()
	next = s.roster.Expire(s.now())
	if s.before != nil && s.before.until > 0 {
		next = min(max(next, s.before.until), s.before.until)
	}
	var ask []uint64
	if s.roster.Room() {
		for port := range s.ports {
			ask = append(ask, port)
		}
	}
	s.mu.Unlock()
	s.tell()
	for _, port := range ask {
		s.cfg.Hub.Ask(port)
	}
	return next
}

// changed takes a change of the roster. s.mu must be held.
func (s *Server) changed(at *room, m *member) {
	if m.present {
		s.stats.Joins++
	} else {
		s.stats.Leaves++
	}
	if s.cfg.Plane != nil {
		m.shared.known = m.shared.known || m.quiet
		m.quiet = false
		s.mark(m)
		return
	}
	e, told := EventOf(m.present, at.present, at.rule.MaxListed, m.Member)
	if told && !at.rule.Silent && !m.quiet {
		s.add(at.topic, e)
	}
	m.quiet = false
	if !m.present {
		s.roster.forget(m)
	}
}

func (s *Server) add(topic string, e Event) {
	s.events = append(s.events, told{topic: topic, Event: e})
}

// tell tells the subscribers of events. It runs on the goroutine of the Server.
func (s *Server) tell() {
	s.mu.Lock()
	list := s.events
	s.events = nil
	s.mu.Unlock()
	for _, e := range list {
		if e.missed > 0 {
			s.cfg.Hub.Lost(e.topic, e.missed)
			continue
		}
		s.cfg.Hub.Change(e.topic, e.Append(nil))
	}
}

// List returns the members of a topic on this machine: see Roster.List.
func (s *Server) List(name string) (count int, list []Member, truncated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roster.List(name)
}

// Stats returns the figures of now.
func (s *Server) Stats() Stats {
	s.inboxMu.Lock()
	dropped := s.dropped
	s.inboxMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Topics, st.Members = len(s.roster.rooms), s.roster.present
	st.Refused, st.Dropped = s.roster.refused, dropped
	st.Shared = s.cfg.Plane != nil
	for _, p := range s.parts {
		st.Err = cmp.Or(st.Err, p.err)
	}
	return st
}

var _ broker.Presence = (*Server)(nil)
