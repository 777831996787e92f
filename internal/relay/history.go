package relay

import (
	"bytes"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
)

const (
	// maxOwn and maxOwnBytes limit the publications of this machine that wait for their places. Others are delivered here
	// only. Twice as many wait at most, to stay in order.
	maxOwn, maxOwnBytes = 50_000, 8 << 20
	// maxRecalls is the number of queries that wait for an answer. A worker asks again.
	maxRecalls = 512
	// recallLimit is how long a query waits.
	recallLimit = 5 * time.Second
	// readBytes is the size of a page that is read to continue a series, and maxReads how many are at the same time.
	readBytes, maxReads = 256 << 10, 64
)

// histories is what a Relay has for topics with a history.
type histories struct {
	plane     backplane.History // nil: no topic has one
	publisher uint64            // names this machine, for all its publications
	number    uint64            // of the latest of them
	said      said
	series    map[string]*series
	busy      map[string]struct{} // topics that wait for something
	ownCount  int
	ownBytes  int
	reads     int
	recalls   int
	paused    bool              // nothing is read or delivered late
	omitted   map[string]uint64 // by topic: publications that got no place, which the others are not told of yet
}

// Keeps implements broker.History.
func (r *Relay) Keeps(topic []byte) bool {
	if r.past.plane == nil || len(topic) == 0 || topic[0] == 0 {
		return false
	}
	_, ok := r.Keep(string(topic))
	return ok
}

// Append implements broker.History.
func (r *Relay) Append(topic []byte, m broker.Kept) (at broker.Place, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := string(topic)
	s := r.seriesOf(name)
	o := &own{m: m, since: r.now(), told: s.local || !s.followed}
	now := o.told
	switch h := &r.past; {
	case h.ownCount >= 2*maxOwn || h.ownBytes+o.size() > 2*maxOwnBytes:
		r.omit(name)
		r.forget(name, s)
		return at, true
	case h.ownCount >= maxOwn || h.ownBytes+o.size() > maxOwnBytes:
		o.lost = true
		r.omit(name)
	}
	r.past.number++
	if o.number = r.past.number; !o.lost {
		o.previous = r.past.said.next(name, o.number, o.since)
	}
	if o.m.Payload = bytes.Clone(m.Payload); len(s.own) == 0 {
		r.due(name, o.since+localAfter)
	}
	s.own = append(s.own, o)
	if s.local && s.followed {
		r.stats.Unplaced++
	}
	r.past.ownCount++
	r.past.ownBytes += o.size()
	switch {
	case o.lost:
	case s.hold.on || len(s.hold.list) > 0:
		s.hold.list = append(s.hold.list, o)
		r.sendHeld(name, s)
	case !r.suspended:
		r.sendOwn(name, o)
	}
	if o.lost {
		r.due(name, o.since)
	}
	return at, now
}

// sendOwn gives a publication of this machine to the backplane.
func (r *Relay) sendOwn(topic string, o *own) {
	keep, _ := r.Keep(topic)
	r.scratch = appendKept(r.scratch[:0], o.entry(r.past.publisher))
	number := o.number
	err := r.past.plane.Append(topic, backplane.Append{
		Key: backplane.Key{Publisher: r.past.publisher, Number: number}, Keep: keep, Payload: r.scratch,
	}, func(at backplane.Position, err error) { r.appended(topic, number, broker.Place(at), err) })
	if cap(r.scratch) > maxKept {
		r.scratch = nil
	}
	if err != nil {
		o.lost = true
		r.past.said.refused(topic)
		r.omit(topic)
		r.due(topic, r.now())
		return
	}
	o.sent = true
	r.stats.Sent++
}

// omit counts a publication that gets no place, which other machines will be told of.
func (r *Relay) omit(topic string) {
	r.stats.Refused++
	if len(r.past.omitted) < maxSenders {
		r.past.omitted[topic]++
	}
	r.plan.owed.at(r.now() + owedPause)
	r.signal()
}

// appended takes the place of a publication of this machine, or why it has none.
func (r *Relay) appended(topic string, number uint64, at broker.Place, err error) {
	r.change(topic, func(s *series) []step {
		i, found := slices.BinarySearchFunc(s.own, number, byNumber)
		if !found {
			return nil // it was delivered
		}
		o := s.own[i]
		switch {
		case err != nil:
			o.lost = true
			r.past.said.refused(topic)
			r.omit(topic)
		case !s.followed:
			r.remove(s, i)
		case at.Offset == 0 || at.Epoch != s.last.Epoch || at.Offset > s.last.Offset:
			if o.at, o.asked = at, s.asked; at.Offset > 0 {
				s.know(at)
			}
			if !s.hole.planned {
				s.hole.at(r.now() + holePause)
			}
		default: // before the beginning of the series
			r.remove(s, i)
			if !o.told {
				return []step{{kind: stepLocal, entry: entry{m: o.m}}}
			}
		}
		return nil
	})
}

// remove removes a publication of this machine.
func (r *Relay) remove(s *series, i int) {
	r.free(s.own[i])
	if i == 0 {
		s.own = s.own[1:]
		return
	}
	s.own = append(s.own[:i:i], s.own[i+1:]...)
}

// free forgets a publication of this machine that waits no longer.
func (r *Relay) free(o *own) {
	if !o.gone {
		o.gone = true
		r.past.ownCount--
		r.past.ownBytes -= o.size()
	}
}

// seriesOf returns the series of a topic, and makes it if necessary.
func (r *Relay) seriesOf(topic string) *series {
	s := r.past.series[topic]
	if s == nil {
		s = &series{followed: r.receivers[topic] != nil}
		r.past.series[topic] = s
	}
	return s
}

// forget removes a series that has nothing to do.
func (r *Relay) forget(topic string, s *series) {
	if !s.followed && len(s.own) == 0 {
		delete(r.past.series, topic)
		delete(r.past.busy, topic)
	}
}

// due has a series looked at at a time.
func (r *Relay) due(topic string, when time.Duration) {
	r.past.busy[topic] = struct{}{}
	r.plan.series.at(when)
	r.signal()
}

// Read implements broker.History.
func (r *Relay) Read(q broker.Query) (p broker.Page, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.past.series[q.Topic]
	if s == nil || !s.followed || r.past.recalls >= maxRecalls || r.past.paused {
		r.stats.RecallsLost++
		return p, false
	}
	one := &recall{q: q, since: r.now()}
	s.recalls = append(s.recalls, one)
	r.past.recalls++
	r.due(q.Topic, one.since+recallLimit)
	r.readRecall(q.Topic, one)
	return p, false
}

// readRecall reads the page of a query.
func (r *Relay) readRecall(topic string, one *recall) {
	q := &one.q
	if q.After.Epoch == 0 && q.Last == 0 {
		one.page = &keptPage{}
		r.due(topic, r.now())
		return
	}
	keep, _ := r.Keep(topic)
	what := backplane.Range{After: q.After.Offset, Bytes: int(min(max(q.Bytes, 1), broker.MaxPage)), Keep: keep}
	if q.After.Epoch == 0 {
		what.After, what.Newest = 0, int(q.Last)
	}
	one.retry, one.asked = due{}, r.past.series[topic].asked
	err := r.past.plane.Read(topic, what, func(p backplane.Page, err error) {
		r.change(topic, func(*series) []step {
			if err != nil {
				one.retry.at(r.now() + owedPause)
			} else {
				one.page = r.pageOf(p)
			}
			return nil
		})
	})
	if err != nil {
		one.retry.at(r.now() + owedPause)
		r.due(topic, one.retry.when)
	}
}

// pageOf reads the publications of a page, up to one that is not understood.
func (r *Relay) pageOf(p backplane.Page) *keptPage {
	page := &keptPage{epoch: p.Epoch, begin: p.Begin, head: p.Head}
	for _, one := range p.Entries {
		e, err := parseKept(one.Payload)
		if err != nil {
			r.stats.Malformed++ // it counts as an empty publication, for nothing may be missing
		}
		e.at = broker.Place{Epoch: p.Epoch, Offset: one.Offset}
		page.entries = append(page.entries, e)
	}
	return page
}

var _ broker.History = (*Relay)(nil)
