package cluster

// lose counts connections that ended with their worker. On the run loop.
func (p *Primary) lose(w *Worker, n int64) {
	w.counted = true
	p.connectionsLost.Add(uint64(max(n, 0)))
}

// died counts the connections of a worker that has ended unasked, unless it was part of a move: then what has moved is
// still to be known. On the run loop.
func (p *Primary) died(w *Worker) {
	if m := p.moving.Load(); w.wanted || p.stopping || m != nil && (m.from == w || m.to == w) {
		return
	}
	p.lose(w, w.held)
}

// finish ends a move, of which so many connections have stayed moved, and counts those that were lost with either
// worker.
func (p *Primary) finish(m *move, moved int) {
	p.doNow(func() {
		p.moving.Store(nil)
		all := m.toHad + int64(moved)
		if m.from.IsDead() && !m.from.counted && !m.from.wanted {
			p.lose(m.from, m.fromHad-int64(moved))
		}
		if m.to.IsDead() && !m.to.counted && !m.to.wanted {
			p.lose(m.to, max(all, m.to.held))
		}
		// The next reports may be a while away.
		m.to.load.Store(max(m.to.load.Load(), all))
		if m.Count < 0 {
			m.from.load.Store(min(m.from.load.Load(), max(m.fromHad-int64(moved), 0)))
		}
	})
}
