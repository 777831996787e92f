package relay

import (
	"cmp"
	"slices"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
)

const (
	// holePause is how long a publication may be missing before one that has arrived, until the history is read.
	holePause = 50 * time.Millisecond
	// localAfter is how long a publication of this machine waits for its place, until it is delivered here without one.
	// When the next ones have theirs within localUntil, they wait again.
	localAfter, localUntil = time.Second, 500 * time.Millisecond
	// maxAhead and maxTail are the bytes of publications of a topic that wait for earlier ones, or for a page.
	maxAhead, maxTail = 1 << 20, 64 << 10
	// maxPublishers is the number of machines whose latest number is kept for a topic.
	maxPublishers = 128
	// entrySize is what an entry takes besides its payload.
	entrySize = 96
)

// series is the order of the publications on a topic with a history, as far as this machine has delivered it.
type series struct {
	followed  bool   // there is a receiver
	listening bool   // what is published now arrives
	outage    bool   // that was not so for a time, and what came in it was not read yet
	started   bool   // last is known
	synced    bool   // everything up to last is delivered, and what is later arrives
	reading   bool   // the history was asked
	asked     uint64 // how often
	checked   bool   // the history has last where it was delivered
	retry     due    // after it has failed
	hole      due    // a publication is missing, or one is known that has not arrived

	last   broker.Place // the latest that was delivered
	id     identity     // of it
	latest []latest     // of each publisher
	// former is the latest that was delivered in the epoch before, and formerID the identity of it: the history may go
	// back, where it is at two servers and machines do not agree which is the right one.
	former   broker.Place
	formerID identity
	// known is a place that was heard of and not delivered, when the history had been asked knownBy times.
	known   broker.Place
	knownBy uint64

	ahead      []entry // later than last, ascending
	aheadBytes int
	first      *first // how the series begins, when that is known

	own   []*own // publications of this machine that are not delivered with their place, by number
	local bool   // they are delivered at once
	hold  hold

	recalls   []*recall
	tail      []entry // delivered since the first of them
	tailBytes int
}

// latest is the latest publication of a publisher that was delivered.
type latest struct {
	identity
	trimmed bool // those that follow are not kept any more, which was told
}

// first is the answer to the first question.
type first struct {
	last   broker.Place
	id     identity
	number uint64 // of the publication of this machine before the question
}

// own is a publication of this machine that waits for its place.
type own struct {
	number   uint64
	previous uint64 // see entry
	m        broker.Kept
	since    time.Duration
	sent     bool         // the backplane has it
	told     bool         // it was delivered here
	lost     bool         // it gets no place
	gone     bool         // it is not counted any more
	at       broker.Place // if it is known and not delivered yet. Offset 0: it has one, which is not known
	asked    uint64       // with Offset 0: series.asked when that was learned
}

// entry returns the publication as it is kept.
func (o *own) entry(publisher uint64) *entry {
	return &entry{id: identity{publisher, o.number}, previous: o.previous, m: o.m}
}

func (o *own) size() int { return len(o.m.Payload) + entrySize }

// recall is a query that is not answered yet.
type recall struct {
	q     broker.Query
	since time.Duration
	page  *keptPage // nil before it was read
	asked uint64    // series.asked when it was asked for
	retry due       // when it is read again
}

// keptPage is a page of the history.
type keptPage struct {
	epoch, begin, head uint64
	entries            []entry
}

// step is a call of the hub that is due.
type step struct {
	kind   stepKind
	entry  entry
	missed uint64
	q      broker.Query
	page   broker.Page
}

type stepKind uint8

const (
	stepPlaced stepKind = iota // entry has its place
	stepLocal                  // entry has none
	stepLost                   // publications are missing
	stepAnswer
)

// arrive takes a publication that has arrived. It reports false if there is no room for it.
func (s *series) arrive(e entry) bool {
	switch {
	case s.started && e.at.Epoch == s.last.Epoch && e.at.Offset <= s.last.Offset:
		return true
	case s.started && e.at.Epoch != s.last.Epoch:
		// One of them is old: the history tells which, and has what follows. Those of the epoch before can come late.
		s.know(e.at)
		s.synced = s.synced && e.at.Epoch == s.former.Epoch
		return true
	}
	i, found := slices.BinarySearchFunc(s.ahead, e.at, func(a entry, at broker.Place) int {
		return compare(a.at, at, s.last.Epoch)
	})
	if found {
		return true
	}
	if s.aheadBytes += len(e.m.Payload) + entrySize; s.aheadBytes > maxAhead && len(s.ahead) > 0 {
		s.aheadBytes -= len(e.m.Payload) + entrySize
		s.synced = false
		return false
	}
	e.m.Payload = slices.Clone(e.m.Payload)
	s.ahead = slices.Insert(s.ahead, i, e)
	return true
}

// compare orders places: those of the epoch first.
func compare(a, b broker.Place, epoch uint64) int {
	switch {
	case a.Epoch != b.Epoch && (a.Epoch == epoch || b.Epoch != epoch && a.Epoch < b.Epoch):
		return -1
	case a.Epoch != b.Epoch:
		return 1
	case a.Offset < b.Offset:
		return -1
	case a.Offset > b.Offset:
		return 1
	}
	return 0
}

// know notes a place that was heard of.
func (s *series) know(at broker.Place) { s.known, s.knownBy = at, s.asked }

// renew continues with another epoch, at a place up to which there is nothing to deliver.
func (s *series) renew(at broker.Place, id identity) {
	s.former, s.formerID = s.last, s.id
	s.last, s.id = at, id
	for i := range s.latest {
		s.latest[i].trimmed = false
	}
	s.dropAhead()
	s.tail, s.tailBytes = nil, 0
}

func (s *series) dropAhead() { s.ahead, s.aheadBytes = nil, 0 }

// deliver delivers the next publication.
func (s *series) deliver(e entry, publisher uint64, now time.Duration) (steps []step) {
	s.last, s.id = e.at, e.id
	fresh, missed := s.record(&e)
	own := e.id.publisher == publisher
	if !fresh || own && !s.waits(e.id.number) {
		return nil
	}
	if len(s.recalls) > 0 {
		if s.tailBytes += len(e.m.Payload) + entrySize; s.tailBytes > maxTail {
			s.tail, s.tailBytes = nil, 0
		}
		s.tail = append(s.tail, e)
	}
	if missed && !own {
		steps = append(steps, step{kind: stepLost})
	}
	if !own {
		return append(steps, step{kind: stepPlaced, entry: e})
	}
	for len(s.own) > 0 && s.own[0].number <= e.id.number {
		o := s.own[0]
		s.own = s.own[1:]
		switch {
		case o.number < e.id.number && !o.told: // it has no place, or it is not kept any more
			steps = append(steps, step{kind: stepLocal, entry: entry{m: o.m}})
		case o.number == e.id.number:
			if now-o.since < localUntil {
				s.local = false
			}
			if o.told {
				return steps
			}
		}
	}
	return append(steps, step{kind: stepPlaced, entry: e})
}

// waits reports whether a publication of this machine waits for its place. If not, it was delivered without one, and
// does not come again.
func (s *series) waits(number uint64) bool {
	_, found := slices.BinarySearchFunc(s.own, number, byNumber)
	return found
}

func byNumber(o *own, number uint64) int { return cmp.Compare(o.number, number) }

// record records a publication. It reports whether it is later than those of its publisher that were delivered, and
// whether one in between was missed, and that was not told. Publications of one machine have ascending numbers. They
// come again if a server returns with an earlier history than that of its successor.
func (s *series) record(e *entry) (fresh, missed bool) {
	for i := range s.latest {
		if l := &s.latest[i]; l.publisher == e.id.publisher {
			if e.id.number <= l.number {
				return false, false
			}
			missed = e.previous > l.number && !l.trimmed
			*l = latest{identity: e.id}
			return true, missed
		}
	}
	if len(s.latest) >= maxPublishers {
		s.latest = slices.Delete(s.latest, 0, 1)
	}
	s.latest = append(s.latest, latest{identity: e.id})
	return true, false
}

// drain delivers what has arrived, up to the next hole.
func (s *series) drain(publisher uint64, now time.Duration) (steps []step) {
	for len(s.ahead) > 0 && s.ahead[0].at.Epoch == s.last.Epoch && s.ahead[0].at.Offset <= s.last.Offset+1 {
		e := s.ahead[0]
		s.ahead = s.ahead[1:]
		s.aheadBytes -= len(e.m.Payload) + entrySize
		if e.at.Offset == s.last.Offset+1 {
			steps = append(steps, s.deliver(e, publisher, now)...)
		}
	}
	if len(s.ahead) == 0 {
		s.dropAhead()
	}
	for len(s.own) > 0 && s.passed(s.own[0]) {
		if o := s.own[0]; !o.told {
			steps = append(steps, step{kind: stepLocal, entry: entry{m: o.m}})
		}
		s.own = s.own[1:]
	}
	if len(s.own) == 0 {
		s.own, s.local = nil, s.local && !s.listening
	}
	return steps
}

// passed reports whether a publication of this machine will not come any more: it has no place, or one before the
// beginning of the series or in a former epoch.
func (s *series) passed(o *own) bool {
	switch {
	case o.lost:
		return true
	case o.at.Epoch == 0 || !s.started:
		return false
	case o.at.Epoch == s.former.Epoch:
		return true
	}
	return o.at.Epoch == s.last.Epoch && o.at.Offset > 0 && o.at.Offset <= s.last.Offset
}

// waiting returns since when a publication of this machine waits for its place.
func (s *series) waiting() (since time.Duration, ok bool) {
	for _, o := range s.own {
		if !o.told {
			return o.since, true
		}
	}
	return 0, false
}

// missing reports whether something that exists has not arrived.
func (s *series) missing() bool {
	if len(s.ahead) > 0 || len(s.own) > 0 && s.own[0].at.Epoch != 0 && s.own[0].at.Offset == 0 {
		return true
	}
	return s.known.Epoch != 0 && (s.known.Epoch != s.last.Epoch || s.known.Offset > s.last.Offset)
}

// begin defines where the series begins: what is published from the time on at which this machine listens is delivered.
func (s *series) begin() {
	f := s.first
	for _, o := range s.own {
		if o.number <= f.number && o.at.Epoch == 0 && !o.told && !o.lost {
			return // it may be before or after
		}
	}
	s.last, s.id, s.first, s.started, s.outage = f.last, f.id, nil, true, false
	lower := func(at broker.Place) {
		if at.Epoch == s.last.Epoch && at.Offset <= s.last.Offset {
			s.last.Offset, s.id = at.Offset-1, identity{}
		}
	}
	for _, e := range s.ahead {
		lower(e.at)
	}
	for _, o := range s.own {
		if !o.told {
			lower(o.at)
		}
	}
	s.synced = s.last == f.last
}

// read takes a page that begins with the entry of last, as far as that is kept, or after it if it was checked. It
// reports true if the server has lost what was delivered here: a new epoch must begin.
func (s *series) read(p *keptPage, publisher uint64, now time.Duration) (steps []step, renew bool) {
	same := false
	if s.id != (identity{}) && len(p.entries) > 0 && p.entries[0].at.Offset == s.last.Offset {
		same = p.entries[0].id == s.id
		if !same && p.epoch == s.last.Epoch {
			return nil, true
		}
	}
	switch {
	case p.epoch == s.last.Epoch && p.head < s.last.Offset:
		return nil, true
	case p.epoch == s.last.Epoch:
	case same && s.last.Offset <= p.begin: // another machine has seen a loss that does not concern this one
		s.renew(broker.Place{Epoch: p.epoch, Offset: s.last.Offset}, s.id)
	case p.epoch == s.former.Epoch:
		if s.outage {
			steps = append(steps, step{kind: stepLost})
		}
		s.renew(s.former, s.formerID)
		s.checked = false
		return steps, false
	default:
		if s.outage {
			steps = append(steps, step{kind: stepLost})
		}
		s.renew(broker.Place{Epoch: p.epoch, Offset: p.begin}, identity{})
		s.checked = true
		return steps, false // the page does not begin there
	}
	for _, e := range p.entries {
		if e.at.Offset <= s.last.Offset {
			continue
		}
		steps = append(steps, s.skip(e.at.Offset-1)...)
		steps = append(steps, s.deliver(e, publisher, now)...)
	}
	if len(p.entries) == 0 {
		steps = append(steps, s.skip(p.head)...)
	}
	s.checked = true
	if s.last.Offset >= p.head {
		s.synced, s.outage = s.listening, !s.listening
		s.hold.on = s.hold.on && !s.listening
		if s.knownBy < s.asked { // if it is of another epoch, that is an old one
			s.known = broker.Place{}
		}
		for _, o := range s.own { // they were in what was read, or are not kept any more
			if o.at.Epoch != 0 && o.at.Offset == 0 && o.asked < s.asked {
				o.lost = true
			}
		}
	}
	return steps, false
}

// skip tells that publications up to an offset are not kept any more.
func (s *series) skip(to uint64) (steps []step) {
	if to <= s.last.Offset {
		return nil
	}
	steps = []step{{kind: stepLost, missed: to - s.last.Offset}}
	s.last.Offset, s.id = to, identity{}
	for i := range s.latest {
		s.latest[i].trimmed = true
	}
	s.tail, s.tailBytes = nil, 0
	return steps
}
