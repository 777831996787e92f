package cluster

import "time"

// watch ends workers that have stopped reporting: they hang, and cannot even take part in a move. It runs on a
// goroutine of its own.
func (p *Primary) watch() {
	every := p.cfg.Heartbeat / 4
	tick := time.NewTicker(every)
	defer tick.Stop()
	seen := make(map[uint64]pulse)
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-p.ended:
			return
		}
		now := time.Now()
		late := now.Sub(last) > 2*every // it is this process that stood still: nobody else is to blame
		last = now
		next := make(map[uint64]pulse, len(seen))
		for _, w := range p.Workers() {
			at, known := seen[w.id]
			switch reports := w.reports.Load(); {
			case w.State() != StateReady && w.State() != StateMoving, reports == 0:
				continue
			case !known || late || reports != at.reports:
				at = pulse{reports, now}
			case now.Sub(at.since) > p.cfg.Heartbeat:
				p.do(func() {
					w.why = "it hangs: no report for " + p.cfg.Heartbeat.String()
					w.proc.kill()
				})
			}
			next[w.id] = at
		}
		seen = next
	}
}

// pulse is the number of reports of a worker, and since when it is that.
type pulse struct {
	reports uint64
	since   time.Time
}
