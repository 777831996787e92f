package relay

import (
	"maps"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
)

// change changes the series of a topic and does what follows from it.
func (r *Relay) change(topic string, f func(s *series) []step) {
	r.order.Lock()
	defer r.order.Unlock()
	r.changeInOrder(topic, f)
}

// changeInOrder is change for a caller that has the lock of the order.
func (r *Relay) changeInOrder(topic string, f func(s *series) []step) {
	r.mu.Lock()
	s := r.past.series[topic]
	if s == nil {
		r.mu.Unlock()
		return
	}
	before := s.own
	steps := f(s)
	steps = append(steps, r.advance(topic, s)...)
	r.countSteps(steps)
	r.settleOwn(before, s.own)
	r.forget(topic, s)
	r.mu.Unlock()
	for i := range steps {
		r.do(topic, &steps[i])
	}
}

// settleOwn forgets the publications of this machine that a change has removed from the beginning of a list.
func (r *Relay) settleOwn(before, after []*own) {
	for _, o := range before {
		if len(after) > 0 && o.number >= after[0].number {
			return
		}
		r.free(o)
	}
}

// countSteps counts what a change of a series does. The caller has the lock.
func (r *Relay) countSteps(steps []step) {
	for _, one := range steps {
		switch one.kind {
		case stepPlaced:
			if one.entry.id.publisher != r.past.publisher {
				r.stats.Heard++
			}
		case stepLocal:
			r.stats.Unplaced++
		case stepLost:
			r.stats.Gaps++
			r.stats.Missed += one.missed
		case stepAnswer:
		}
	}
}

// do calls the hub.
func (r *Relay) do(topic string, one *step) {
	switch one.kind {
	case stepPlaced:
		r.hub.Placed(topic, one.entry.m, one.entry.at)
	case stepLocal:
		r.hub.Heard(topic, one.entry.m.Opcode, one.entry.m.Payload, one.entry.m.Except)
	case stepLost:
		r.hub.Lost(topic, one.missed)
	case stepAnswer:
		r.hub.Answer(one.q, one.page)
	}
}

// advance delivers what can be delivered, and reads what is missing.
func (r *Relay) advance(topic string, s *series) (steps []step) {
	now := r.now()
	if s.first != nil {
		s.begin()
	}
	if s.synced {
		steps = s.drain(r.past.publisher, now)
	}
	if s.synced && !s.missing() {
		s.hole = due{}
	} else if s.synced && !s.hole.planned {
		s.hole.at(now + holePause)
	}
	r.sendHeld(topic, s)
	r.read(topic, s, now)
	steps = append(steps, r.answerRecalls(topic, s, now)...)
	for _, one := range s.recalls {
		if one.retry.planned {
			r.due(topic, one.retry.when)
		}
	}
	for _, d := range []due{s.hole, s.retry} {
		if d.planned {
			r.due(topic, d.when)
		}
	}
	return steps
}

// read asks the history if that is necessary.
func (r *Relay) read(topic string, s *series, now time.Duration) {
	if s.hole.take(now) && s.missing() {
		s.synced = false
	}
	if !s.followed || !s.listening || s.synced || s.reading || s.first != nil || r.past.paused {
		return
	}
	if s.retry.planned && s.retry.when > now {
		return
	}
	if s.retry = (due{}); r.past.reads >= maxReads {
		s.retry.at(now + holePause)
		return
	}
	keep, _ := r.Keep(topic)
	what, number := backplane.Range{Newest: 1, Keep: keep}, r.past.number
	if s.started {
		what.Newest, what.After, what.Bytes = 0, s.last.Offset, readBytes
		if !s.checked && s.last.Offset > 0 {
			what.After--
		}
	}
	err := r.past.plane.Read(topic, what, func(p backplane.Page, err error) {
		r.answered()
		r.change(topic, func(now *series) []step {
			if now != s {
				return nil // nobody was interested for a time
			}
			return r.readSeries(topic, s, number, p, err)
		})
	})
	if err != nil {
		s.retry.at(now + owedPause)
		return
	}
	s.reading = true
	s.asked++
	r.past.reads++
}

// answered counts an answer of the history.
func (r *Relay) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past.reads--
}

// readSeries takes an answer of the history.
func (r *Relay) readSeries(topic string, s *series, number uint64, p backplane.Page, err error) (steps []step) {
	s.reading = false
	switch {
	case err != nil:
		s.retry.at(r.now() + owedPause)
		return nil
	case r.past.paused || s.synced || !s.listening:
		return nil
	case !s.started:
		f := &first{last: broker.Place{Epoch: p.Epoch, Offset: p.Head}, number: number}
		if page := r.pageOf(p); len(page.entries) > 0 {
			f.id = page.entries[0].id
		}
		s.first = f
		return nil
	}
	r.stats.Reads++
	steps, lost := s.read(r.pageOf(p), r.past.publisher, r.now())
	if lost {
		r.renew(topic, s, p.Epoch)
	}
	return steps
}

// renew ends an epoch in which the server has lost what was delivered here.
func (r *Relay) renew(topic string, s *series, epoch uint64) {
	err := r.past.plane.Renew(topic, epoch, func(_ backplane.Page, err error) {
		r.answered()
		r.change(topic, func(now *series) []step {
			if now == s {
				if s.reading = false; err != nil {
					s.retry.at(r.now() + owedPause)
				}
			}
			return nil
		})
	})
	if err != nil {
		s.retry.at(r.now() + owedPause)
		return
	}
	s.reading = true
	r.past.reads++
	r.stats.Renewed++
}

// takeKept takes a kept publication that has arrived.
func (r *Relay) takeKept(one *backplane.Message) {
	e, err := parseKept(one.Payload)
	if err != nil {
		r.count(func(s *Stats) { s.Malformed++ })
	}
	e.at = broker.Place(one.At)
	r.mu.Lock()
	followed, known := r.receivers[one.Topic] != nil, r.past.series[one.Topic] != nil
	r.mu.Unlock()
	switch {
	case !followed:
	case known:
		r.changeInOrder(one.Topic, func(s *series) []step {
			if s.synced && len(s.ahead) == 0 && len(s.recalls) == 0 &&
				e.at == (broker.Place{Epoch: s.last.Epoch, Offset: s.last.Offset + 1}) {
				return s.deliver(e, r.past.publisher, r.now())
			}
			if !s.arrive(e) {
				r.stats.Overrun++
			}
			return nil
		})
	case e.id.publisher != r.past.publisher && err == nil: // this machine keeps less than others
		r.count(func(s *Stats) { s.Heard++ })
		r.hub.Heard(one.Topic, e.m.Opcode, e.m.Payload, e.m.Except)
	}
}

// listen records that topics are listened to from now on, or that they may be missed.
func (r *Relay) listen(topics []string, listening bool) {
	if r.past.plane == nil {
		return
	}
	r.order.Lock()
	defer r.order.Unlock()
	for _, topic := range topics {
		r.mu.Lock()
		follow := r.receivers[topic] != nil && r.Keeps([]byte(topic))
		if follow {
			r.seriesOf(topic).followed = true
		}
		r.mu.Unlock()
		if !follow {
			continue
		}
		r.changeInOrder(topic, func(s *series) []step {
			s.synced, s.checked = false, false
			if s.listening = listening; !listening {
				s.outage = s.outage || s.started
				s.hold.on = s.hold.on || s.started
			}
			return nil
		})
		if !listening {
			r.goLocal(topic)
		}
	}
}

// goLocal delivers what waits for its place, and what follows, without one. The caller has the lock of the order.
func (r *Relay) goLocal(topic string) {
	for {
		r.mu.Lock()
		s := r.past.series[topic]
		if s == nil || r.past.paused {
			r.mu.Unlock()
			return
		}
		var steps []step
		for _, o := range s.own {
			if !o.told {
				o.told = true
				steps = append(steps, step{kind: stepLocal, entry: entry{m: o.m}})
			}
		}
		r.stats.Unplaced += uint64(len(steps))
		if len(steps) == 0 {
			s.local = true
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		for i := range steps {
			r.do(topic, &steps[i])
		}
	}
}

// lookAtSeries does what is due for topics.
func (r *Relay) lookAtSeries() {
	r.order.Lock()
	defer r.order.Unlock()
	r.mu.Lock()
	var topics, slow []string
	now := r.now()
	for topic := range r.past.busy {
		s := r.past.series[topic]
		if s == nil {
			delete(r.past.busy, topic)
			continue
		}
		if since, ok := s.waiting(); ok && now-since >= localAfter {
			slow = append(slow, topic)
		}
		topics = append(topics, topic)
	}
	r.mu.Unlock()
	for _, topic := range slow {
		r.goLocal(topic)
	}
	for _, topic := range topics {
		r.changeInOrder(topic, func(s *series) []step {
			next := due{}
			if since, ok := s.waiting(); ok {
				next.at(max(since+localAfter, now+holePause))
			}
			if len(s.recalls) > 0 {
				next.at(now + holePause)
			}
			if delete(r.past.busy, topic); next.planned {
				r.due(topic, next.when)
			}
			return nil
		})
	}
}

// resumeSeries goes on with everything that waits while messages are held.
func (r *Relay) resumeSeries() {
	r.order.Lock()
	defer r.order.Unlock()
	r.mu.Lock()
	r.past.paused = false
	topics := slices.Collect(maps.Keys(r.past.series))
	r.mu.Unlock()
	for _, topic := range topics {
		r.changeInOrder(topic, func(s *series) []step {
			for _, o := range s.own {
				o.since = r.now() // it could not get its place
			}
			if len(s.own) > 0 {
				r.due(topic, r.now()+localAfter)
			}
			return nil
		})
	}
}
