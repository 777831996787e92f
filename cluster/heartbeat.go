package cluster

import "time"

// watchHeartbeats kills workers that have stopped reporting: they hang, and could not even take part in a move. It runs
// on a goroutine of its own.
func watchHeartbeats(s *supervisor) {
	every := s.cfg.Heartbeat / 4
	tick := time.NewTicker(every)
	defer tick.Stop()
	seen := make(map[uint64]pulse)
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-s.loop.ended:
			return
		}
		now := time.Now()
		late := now.Sub(last) > 2*every // this process was stopped itself: do not blame the workers
		last = now
		next := make(map[uint64]pulse, len(seen))
		for _, w := range s.roster.workers() {
			at, known := seen[w.id]
			switch reports := w.reports.Load(); {
			case w.State() != StateReady && w.State() != StateMoving, reports == 0:
				continue
			case !known || late || reports != at.reports:
				at = pulse{reports, now}
			case now.Sub(at.since) > s.cfg.Heartbeat:
				s.loop.post(func() {
					w.why = "hangs: no report for " + s.cfg.Heartbeat.String()
					w.proc.kill()
				})
			}
			next[w.id] = at
		}
		seen = next
	}
}

// pulse is a worker's number of reports and the time at which it last changed.
type pulse struct {
	reports uint64
	since   time.Time
}
