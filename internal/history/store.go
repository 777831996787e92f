package history

import (
	"bytes"
	"container/heap"
	"container/list"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/topic"
)

// Rule tells how much a topic keeps.
type Rule struct {
	Messages int
	For      time.Duration
}

// Config configures a Store.
type Config struct {
	Rules topic.Rules[Rule]
	// MaxBytes bounds what all topics keep, with overheadTopic and overheadMessage.
	MaxBytes int64
	// Now returns the wall clock time. nil means time.Now.
	Now func() time.Time
}

// What is counted of each topic and publication in addition to its bytes.
const (
	overheadTopic   = 256
	overheadMessage = 80
)

// forget is how long a topic is known after the last publication or question, so that an empty history is known to be
// empty.
const forget = 24 * time.Hour

// expireAtOnce bounds the work of one call.
const expireAtOnce = 256

// Store is a history in memory. It is safe for concurrent use.
type Store struct {
	Config
	mu     sync.Mutex
	topics map[string]*entry
	due    queue
	asked  list.List // of *entry: topics without a publication ever. Any client may ask for many
	stats  Stats
}

// Stats are the numbers of a Store.
type Stats struct {
	Topics, Messages int
	Bytes, MaxBytes  int64
	// Evicted counts publications that were removed early because MaxBytes was reached, Forgotten topics.
	Evicted, Forgotten uint64
	// Pages counts what was read, Lost the places that could not be continued.
	Pages, Lost uint64
}

// entry is a topic.
type entry struct {
	name    string
	rule    Rule
	epoch   uint64
	head    uint64        // offset of the newest publication, 0 if there was none
	touched int64         // ns, when it was last used
	kept    []message     // the newest ones, without a hole
	due     int64         // ns, when the oldest publication expires or, without one, the topic is forgotten
	index   int           // in Store.due
	asked   *list.Element // in Store.asked; nil after the first publication
}

type message struct {
	broker.Kept
	at int64 // ns
}

func (m *message) size() int64 { return overheadMessage + int64(len(m.Payload)) }

func (e *entry) size() int64 { return overheadTopic + int64(len(e.name)) }

// New returns an empty Store.
func New(c Config) *Store {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{Config: c, topics: make(map[string]*entry)}
}

// Keeps implements broker.History.
func (s *Store) Keeps(name []byte) bool {
	if len(name) == 0 || name[0] == 0 { // a topic of the server itself
		return false
	}
	_, ok := s.Rules.Find(string(name))
	return ok
}

// Append implements broker.History.
func (s *Store) Append(name []byte, m broker.Kept) (broker.Place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire(now)
	e := s.open(string(name), now)
	if e.head++; e.asked != nil {
		s.asked.Remove(e.asked)
		e.asked = nil
	}
	m.Payload = bytes.Clone(m.Payload)
	at := broker.Place{Epoch: e.epoch, Offset: e.head}
	if n := len(e.kept); n > 0 { // the clock may be set back
		now = max(now, e.kept[n-1].at)
	}
	s.push(e, message{m, now})
	s.bound()
	return at, true
}

// Read implements broker.History.
func (s *Store) Read(q broker.Query) (broker.Page, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire(now)
	e := s.open(q.Topic, now)
	for len(e.kept) > 0 && e.when() <= now { // expire has a limit
		s.pop(e)
	}
	s.schedule(e)
	s.stats.Pages++
	kept := e.kept
	first := e.head - uint64(len(kept)) // the place before the oldest one
	p := broker.Page{After: q.After}
	switch {
	case q.After.Epoch == 0:
		n := min(len(kept), int(q.Last))
		p.After = broker.Place{Epoch: e.epoch, Offset: e.head - uint64(n)}
		kept = kept[len(kept)-n:]
	case q.After.Epoch != e.epoch || q.After.Offset > e.head || q.After.Offset < first:
		s.stats.Lost++
		p.After, p.Lost = broker.Place{Epoch: e.epoch, Offset: e.head}, true
		kept = nil
	default:
		kept = kept[q.After.Offset-first:]
	}
	room := min(int(q.Bytes), broker.MaxPage)
	for i := range kept {
		if room -= kept[i].Space(); room < 0 && i > 0 {
			p.More = true
			break
		}
		p.Messages = append(p.Messages, kept[i].Kept)
	}
	s.bound()
	return p, true
}

// Stats returns the numbers of the Store.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.now())
	stats := s.stats
	stats.Topics, stats.MaxBytes = len(s.topics), s.MaxBytes
	return stats
}

// The methods below require that s.mu is held.

func (s *Store) now() int64 { return s.Now().UnixNano() }

// open returns a topic, and makes it if necessary.
func (s *Store) open(name string, now int64) *entry {
	e := s.topics[name]
	if e == nil {
		rule, _ := s.Rules.Find(name)
		e = &entry{name: name, rule: rule, epoch: rand.Uint64() | 1}
		e.touched = now
		s.add(e)
		return e
	}
	e.touched = max(e.touched, now)
	s.schedule(e)
	return e
}

func (s *Store) add(e *entry) {
	s.topics[e.name] = e
	s.stats.Bytes += e.size()
	e.due = e.when()
	heap.Push(&s.due, e)
	if e.head == 0 {
		e.asked = s.asked.PushBack(e)
	}
}

// when returns when something is due in a topic.
func (e *entry) when() int64 {
	if len(e.kept) > 0 {
		return e.kept[0].at + int64(e.rule.For)
	}
	return e.touched + int64(forget)
}

// schedule notes that the oldest publication of a topic may be another one.
func (s *Store) schedule(e *entry) {
	if due := e.when(); due != e.due {
		e.due = due
		heap.Fix(&s.due, e.index)
	}
}

// push adds a publication, and removes those beyond the number of the rule.
func (s *Store) push(e *entry, m message) {
	e.kept = append(e.kept, m)
	s.stats.Messages++
	s.stats.Bytes += m.size()
	for len(e.kept) > e.rule.Messages {
		s.pop(e)
	}
	s.schedule(e)
}

// pop removes the oldest publication of a topic. The caller calls schedule.
func (s *Store) pop(e *entry) {
	s.stats.Messages--
	s.stats.Bytes -= e.kept[0].size()
	e.kept[0] = message{}
	if e.kept = e.kept[1:]; len(e.kept) == 0 {
		e.kept = nil
	}
}

// expire removes what is due.
func (s *Store) expire(now int64) {
	for range expireAtOnce {
		if len(s.due) == 0 || s.due[0].due > now {
			return
		}
		s.removeFirst()
	}
}

// bound removes until everything fits: first topics on which nothing was ever published, then what is due next. So what
// a rule keeps for a short time goes early.
func (s *Store) bound() {
	for s.stats.Bytes > s.MaxBytes && len(s.due) > 0 {
		if first := s.asked.Front(); first != nil {
			s.stats.Forgotten++
			s.remove(first.Value.(*entry))
			continue
		}
		if len(s.due[0].kept) > 0 {
			s.stats.Evicted++
		} else {
			s.stats.Forgotten++
		}
		s.removeFirst()
	}
}

// removeFirst removes the publication that is due first, or the topic.
func (s *Store) removeFirst() {
	e := s.due[0]
	if len(e.kept) > 0 {
		s.pop(e)
		s.schedule(e)
		return
	}
	s.remove(e)
}

// remove forgets a topic that keeps nothing.
func (s *Store) remove(e *entry) {
	heap.Remove(&s.due, e.index)
	if e.asked != nil {
		s.asked.Remove(e.asked)
	}
	delete(s.topics, e.name)
	s.stats.Bytes -= e.size()
}

// queue is a heap of the topics by what is due first. It implements heap.Interface.
type queue []*entry

// Len returns the number of topics.
func (q queue) Len() int { return len(q) }

// Less reports whether topic i is due before topic j.
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }

// Swap exchanges two topics.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push appends a topic.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop removes the last topic.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

var _ broker.History = (*Store)(nil)
