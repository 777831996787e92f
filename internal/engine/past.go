package engine

import (
	"encoding/binary"
)

// Past takes a page of what a topic has kept, in its place among the publications: it sends the page to the connections
// that wait for it, and adds them to the topic if the page ends with the latest publication. On the loop.
func (e *Engine) Past(p Page) {
	h := e.recoveries
	if h == nil {
		return
	}
	q := h.asked[p.Token]
	if q == nil || q.key.topic != p.Topic { // it was asked for once more
		return
	}
	delete(h.asked, p.Token)
	h.close(q)
	e.topicsMu.Lock()
	latest := h.places[p.Topic]
	e.topicsMu.Unlock()
	end := p.end()
	if !p.Lost && latest.Epoch == end.Epoch && latest.Offset > end.Offset {
		p.More = true // the page has been overtaken
	}
	unknown := uint64(0) // how many are lost, if that is known
	if after := q.key.from.After; p.Lost && after.Epoch == end.Epoch && after.Offset < end.Offset {
		unknown = end.Offset - after.Offset
	}
	if len(q.list) == 0 && !p.More {
		e.topicsMu.Lock()
		e.arrivedAt(p.Topic, end)
		e.topicsMu.Unlock()
	}
	var messages []broadcast
	for _, r := range q.list {
		if e.waits(r) {
			if messages == nil {
				messages = e.encode(&p)
			}
			switch {
			case !e.give(r, &p, messages):
			case !p.Lost && (p.More || e.isAhead(r.conn)):
				e.lineUp(r)
			default:
				e.join(r, end, !p.Lost, unknown)
			}
		}
		e.goOn(r)
	}
	e.askNext()
}

// give sends a page to the connection of a recovery. It reports false if the queue has no room for all of it: other
// recoveries, or the application, have filled it since the page was asked for. Then the rest waits.
func (e *Engine) give(r *recovery, p *Page, messages []broadcast) bool {
	at := p.After
	for i := range messages {
		if x := p.Messages[i].Except; x == 0 || x != r.conn.id {
			if !r.conn.takes(len(messages[i].plain.frame)) {
				r.from, r.parked = From{After: at}, true
				return false
			}
			r.conn.sendBroadcast(&messages[i])
			r.missed++
		}
		at.Offset++
	}
	r.from = From{After: at}
	return true
}

// encode encodes the messages of a page.
func (e *Engine) encode(p *Page) []broadcast {
	list := make([]broadcast, 0, len(p.Messages))
	for i, m := range p.Messages {
		m = e.frame(p.Topic, Place{p.After.Epoch, p.After.Offset + uint64(i) + 1}, m)
		list = append(list, e.newBroadcast(m.Op, m.Payload))
	}
	e.count.recalled.Add(uint64(len(list)))
	return list
}

// waits reports whether a recovery is not over.
func (e *Engine) waits(r *recovery) bool {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return !r.over
}

// isAhead reports whether c does not get the next publications because it has had them in its previous worker. They
// were on topics that it was subscribed to.
func (e *Engine) isAhead(c *Conn) bool {
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	return e.ahead[c.key.Index] > e.position
}

// join subscribes the connection of a recovery, which has had everything up to a place, and tells the outcome. lost is
// how many publications it has missed, 0 if that is not known.
func (e *Engine) join(r *recovery, at Place, ok bool, lost uint64) {
	c := r.conn
	e.topicsMu.Lock()
	if r.over || c.phase.Load() != phaseOpen {
		e.topicsMu.Unlock()
		return // the end of c, or its move, tells the outcome
	}
	if e.topics.Subscribe(r.topic, c.key.Index) && e.cfg.Subscribed != nil {
		e.cfg.Subscribed(c, r.topic, true)
	}
	if at.Epoch != 0 {
		e.recoveries.places[r.topic] = at
	}
	if find(e.recoveries.of[c], r.topic) == r {
		e.withdraw(r)
	}
	e.topicsMu.Unlock()
	e.tellRecovered(r, Recovered{At: at, Missed: r.missed, OK: ok}, lost)
}

// tellRecovered tells the outcome of a recovery.
func (e *Engine) tellRecovered(r *recovery, out Recovered, lost uint64) {
	if out.OK {
		e.count.recovered.Add(1)
	} else {
		e.count.notRecovered.Add(1)
	}
	switch c := r.conn; {
	case r.repair && !out.OK:
		e.tellGap(c, Gap{Topic: r.topic, Missed: lost})
	case r.repair:
	case r.done != nil:
		r.done <- outcome{Recovered: out}
	case c.route.Recovered != nil:
		c.dispatch(event{kind: eventRecovered, data: out.append(nil, r.topic)})
	}
}

// append appends the data of an eventRecovered.
func (r *Recovered) append(dst []byte, topic string) []byte {
	ok := byte(0)
	if r.OK {
		ok = 1
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, ok), r.At.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, r.At.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Missed))
	return append(dst, topic...)
}

// recovered calls Route.Recovered.
func (c *Conn) recovered(b []byte) {
	const topicAt = 21
	if len(b) < topicAt || c.route.Recovered == nil { // it comes from another release
		return
	}
	c.route.Recovered(c, string(b[topicAt:]), Recovered{
		OK: b[0] == 1, At: Place{binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])},
		Missed: int(binary.LittleEndian.Uint32(b[17:])),
	})
}

// repair makes c recover publications of a topic that have not come after the one with number before. If the topic is
// not known, it may be any. repair reports false if that is not possible for all topics: then c has to be told. On the
// loop.
func (e *Engine) repair(c *Conn, topic string, before uint64) bool {
	switch {
	case e.recoveries == nil:
		return false
	case topic != "":
		return e.repairTopic(c, topic, before)
	}
	all := true
	for _, topic := range c.Topics() {
		all = e.repairTopic(c, topic, before) && all
	}
	return all
}

func (e *Engine) repairTopic(c *Conn, topic string, before uint64) bool {
	h := e.recoveries
	e.topicsMu.Lock()
	at, known := h.places[topic]
	ahead := e.ahead[c.key.Index] > before // what it has had of the topic is not known
	e.topicsMu.Unlock()
	if e.holdsBack(c) { // what is recovered would overtake it
		return false
	}
	r := &recovery{conn: c, topic: topic, from: From{After: at}, repair: true}
	if !known || ahead || !e.cfg.History.Keeps(topic) || e.begin(r, false) != nil {
		return false
	}
	e.lineUp(r)
	return true
}
