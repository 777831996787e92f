package relay

import (
	"math/rand/v2"
	"time"
)

const (
	// resyncPause is how long a relay waits for further topics that are listened to again, and for further questions of
	// other machines: one answer serves all. A random part of it is added.
	resyncPause = 100 * time.Millisecond
	// owedPause is the time until a message is sent again that the backplane has refused.
	owedPause = 200 * time.Millisecond
	// positionsAtOnce is the number of topics that are looked at, or positions that are told, while the hub waits.
	positionsAtOnce = 500
	// No positions are told while more than positionsQueue bytes wait to be sent: publications would find no room.
	// positionsPause is the time until the next look.
	positionsQueue = 1 << 20
	positionsPause = 50 * time.Millisecond
)

// plan is what a relay has to do later.
type plan struct {
	ask, answer, owed, leave, series due
	askSince, answerSince            time.Duration // how far back
}

// due is a time at which something is to be done. The zero value is never.
type due struct {
	planned bool
	when    time.Duration
}

// at plans something, unless it is planned for an earlier time.
func (d *due) at(when time.Duration) {
	if !d.planned || when < d.when {
		d.planned, d.when = true, when
	}
}

// take reports whether something is to be done now, and ends the plan.
func (d *due) take(now time.Duration) bool {
	if !d.planned || d.when > now {
		return false
	}
	*d = due{}
	return true
}

func pause() time.Duration { return resyncPause + rand.N(resyncPause) }

// ask plans a resync for what was missed since a time.
func (r *Relay) ask(since time.Duration) {
	p := &r.plan
	if !p.ask.planned || since < p.askSince {
		p.askSince = since
	}
	p.ask.at(r.now() + pause())
	r.signal()
}

// answer plans to tell the positions of all topics on which something was published since a time.
func (r *Relay) answer(since time.Duration) {
	p := &r.plan
	if !p.answer.planned || since < p.answerSince {
		p.answerSince = since
	}
	p.answer.at(r.now() + pause())
	r.signal()
}

// signal makes run look at the plan.
func (r *Relay) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run does what is planned, until Close.
func (r *Relay) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.done:
			return
		}
		next, planned, look := r.work()
		if look {
			r.lookAtSeries()
			r.signal() // for what was planned meanwhile
		}
		if planned {
			timer.Reset(next)
		}
	}
}

// work does what is due, and returns the time until the next is, and whether to look at series.
func (r *Relay) work() (next time.Duration, planned, look bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, p := r.now(), &r.plan
	if r.suspended {
		return 0, false, false // Resume signals
	}
	if p.leave.take(now) {
		r.leave(now)
	}
	if p.ask.take(now) {
		r.resync(now)
	}
	if p.answer.take(now) {
		r.owePositions(p.answerSince)
		p.owed.at(now)
		if r.suspended { // meanwhile
			return 0, false, false
		}
	}
	if p.owed.take(now) {
		r.tellPositions(now)
		r.tellOmitted(now)
	}
	look = p.series.take(now)
	next = time.Hour
	for _, d := range []due{p.ask, p.answer, p.owed, p.leave, p.series} {
		if d.planned {
			next, planned = min(next, d.when-now), true
		}
	}
	return max(next, 0), planned, look
}

// resync asks all machines for their positions.
func (r *Relay) resync(now time.Duration) {
	m := message{kind: resync, node: r.Node, age: now - r.plan.askSince}
	if r.outAll(m.append(nil)) != nil {
		r.plan.ask.at(now + owedPause)
		return
	}
	r.stats.Resyncs++
}

// owePositions notes the topics on which something was published since a time. There may be many, and the hub waits
// for the lock, so it is given up in between.
func (r *Relay) owePositions(since time.Duration) {
	looked := 0
	for topic, t := range r.senders.topics {
		if t.at >= since {
			r.senders.owed[topic] = struct{}{}
		}
		if looked++; looked%positionsAtOnce == 0 {
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
}

// tellPositions tells positions that are owed, as far as the backplane takes them. The hub waits meanwhile, so each
// call tells only some.
func (r *Relay) tellPositions(now time.Duration) {
	if r.Backplane.Status().Queued > positionsQueue {
		r.plan.owed.at(now + positionsPause)
		return
	}
	told := 0
	for topic := range r.senders.owed {
		if told++; told > positionsAtOnce {
			r.plan.owed.at(now)
			return
		}
		at := r.senders.topics[topic]
		if at == nil { // forgotten
			delete(r.senders.owed, topic)
			continue
		}
		m := message{kind: position, node: r.Node, stream: at.stream, seq: at.seq, age: now - at.at}
		r.scratch = m.append(r.scratch[:0])
		if r.Backplane.Publish(topic, r.scratch) != nil {
			r.plan.owed.at(now + owedPause)
			return
		}
		delete(r.senders.owed, topic)
	}
}

// tellOmitted tells how many publications did not get into histories, as far as the backplane takes it.
func (r *Relay) tellOmitted(now time.Duration) {
	told := 0
	for topic, n := range r.past.omitted {
		m := message{kind: omitted, node: r.Node, seq: n}
		if told++; told > positionsAtOnce || r.Backplane.Publish(topic, m.append(nil)) != nil {
			r.plan.owed.at(now + owedPause)
			return
		}
		delete(r.past.omitted, topic)
	}
}
