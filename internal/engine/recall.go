package engine

// queue adds a recall to the line. Those that nobody needs any more, because connections unsubscribe while they wait,
// do not fill it. On the loop.
func (e *Engine) queue(key recallKey) *recall {
	h := e.recoveries
	if len(h.line) >= max(h.sweep, sweepFrom) {
		line := make([]*recall, 0, len(h.line)/2)
		e.topicsMu.Lock()
		for _, q := range h.line {
			if e.needs(q) {
				line = append(line, q)
			} else {
				e.dropRecall(q)
			}
		}
		e.topicsMu.Unlock()
		h.line, h.sweep = line, 2*len(line)
	}
	q := &recall{key: key}
	h.open[key] = q
	h.line = append(h.line, q)
	return q
}

// needs reports whether somebody waits for a page. e.topicsMu is held.
func (e *Engine) needs(q *recall) bool {
	if len(q.list) == 0 { // see locate
		_, known := e.recoveries.places[q.key.topic]
		return !known && len(e.topics.Members(q.key.topic)) > 0
	}
	for _, r := range q.list {
		if !r.over {
			return true
		}
	}
	return false
}

// dropRecall drops a recall that was not asked. Other recoveries of its connections may wait for it.
func (e *Engine) dropRecall(q *recall) {
	e.recoveries.close(q)
	e.Post(func() {
		for _, r := range q.list {
			e.goOn(r)
		}
	})
}

// refill lines up recoveries of c that waited for room in its queue. The others wait for them. On the loop.
func (e *Engine) refill(c *Conn) {
	e.topicsMu.Lock()
	list := append([]*recovery(nil), e.recoveries.of[c]...)
	e.topicsMu.Unlock()
	pages := 0
	for _, r := range list {
		if !r.parked {
			continue
		}
		if pages++; pages > refillPages {
			c.mu.Lock()
			c.bits |= bitThirsty
			c.mu.Unlock()
			return
		}
		e.lineUp(r)
	}
}

// goOn lines up recoveries that wait while their connection has room: r has not filled it. On the loop.
func (e *Engine) goOn(r *recovery) {
	c := r.conn
	if r.parked || c.phase.Load() != phaseOpen {
		return
	}
	c.mu.Lock()
	room := c.bits&bitThirsty != 0 && c.queueSize() <= c.route.LowMark
	if room {
		c.bits &^= bitThirsty
	}
	c.mu.Unlock()
	if room {
		e.refill(c)
	}
}

// takes reports whether the queue of c takes a frame without its policy. If not, c is thirsty.
func (c *Conn) takes(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fits(size) || c.phase.Load() != phaseOpen {
		return true
	}
	if !c.blocked.Load() || c.heldOutput() {
		if c.makeRoom(); c.fits(size) {
			return true
		}
	}
	c.bits |= bitThirsty
	return false
}
