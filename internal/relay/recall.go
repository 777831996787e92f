package relay

import (
	"time"

	"github.com/expedite-go/expedite/internal/broker"
)

// answerRecalls answers the queries whose page is complete.
func (r *Relay) answerRecalls(topic string, s *series, now time.Duration) (steps []step) {
	if len(s.recalls) == 0 {
		return nil
	}
	left := s.recalls[:0]
	for _, one := range s.recalls {
		page, ok := broker.Page{}, false
		if one.page != nil && s.synced && s.followed {
			page, ok = s.answer(one)
		}
		if one.retry.take(now) {
			r.readRecall(topic, one)
		}
		switch {
		case ok:
			steps = append(steps, step{kind: stepAnswer, q: one.q, page: page})
		case now-one.since >= recallLimit || !s.followed:
			r.stats.RecallsLost++ // the worker asks again
		default:
			left = append(left, one)
			continue
		}
		r.past.recalls--
	}
	clear(s.recalls[len(left):])
	if s.recalls = left; len(left) == 0 {
		s.recalls, s.tail, s.tailBytes = nil, nil, 0
	}
	return steps
}

// answer returns the answer to a query whose page was read. It reports false if that has to wait.
func (s *series) answer(one *recall) (p broker.Page, ok bool) {
	q, page := &one.q, one.page
	p.After = q.After
	switch {
	case q.After.Epoch == 0 && q.Last == 0:
		p.After = s.last
		return p, true
	case page.epoch != s.last.Epoch: // one of them is old
		switch {
		case page.epoch == s.former.Epoch:
			p.Lost, p.After = true, s.last
			return p, q.After.Epoch != 0
		case one.asked < s.asked: // the page is
			one.page = nil
			one.retry.at(0)
		default:
			s.know(broker.Place{Epoch: page.epoch, Offset: page.head})
		}
		return p, false
	case q.After.Epoch == 0 && len(page.entries) > 0:
		p.After = broker.Place{Epoch: page.epoch, Offset: page.entries[0].at.Offset - 1}
	case q.After.Epoch == 0:
		p.After = broker.Place{Epoch: page.epoch, Offset: page.head}
	case page.lost(q.After):
		p.Lost, p.After = true, s.last
		return p, true
	}
	size := 0
	for _, e := range page.entries {
		size += len(e.m.Payload)
		p.Messages = append(p.Messages, e.m)
	}
	end := p.End().Offset
	switch {
	case end < page.head:
		p.More = true
		return p, true
	case s.last.Offset < end:
		s.know(broker.Place{Epoch: page.epoch, Offset: end})
		return p, false
	}
	for _, e := range s.tail {
		if e.at.Offset == p.End().Offset+1 && size+len(e.m.Payload) <= broker.MaxPage {
			size += len(e.m.Payload)
			p.Messages = append(p.Messages, e.m)
		}
	}
	p.More = p.End().Offset < s.last.Offset
	if p.More && len(p.Messages) == 0 {
		one.page = nil // it was read too early
		one.retry.at(0)
		return p, false
	}
	return p, true
}

// lost reports whether a client that has everything up to a place cannot continue.
func (p *keptPage) lost(after broker.Place) bool {
	switch {
	case after.Epoch != p.epoch || after.Offset > p.head:
		return true
	case len(p.entries) > 0:
		return p.entries[0].at.Offset != after.Offset+1
	}
	return after.Offset != p.head
}
