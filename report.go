package expedite

import (
	"context"
	"sync"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// reportTimeout is how long a worker may take to say how it is; then its last report stands for it, as stale.
const reportTimeout = time.Second

// samples asks all workers how they are. Of one that does not answer in time it has the last report.
func (p *primary) samples(ctx context.Context) []telemetry.SlotReport {
	group := p.group.Load()
	if group == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	workers := group.Workers()
	list := make([]telemetry.SlotReport, len(workers))
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() { list[i] = p.sample(ctx, w) })
	}
	wg.Wait()
	return list
}

// reported are the last reports of all workers.
func (p *primary) reported() []telemetry.SlotReport {
	group := p.group.Load()
	if group == nil {
		return nil
	}
	workers := group.Workers()
	list := make([]telemetry.SlotReport, len(workers))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range workers {
		list[i] = sampleOf(w, p.reports[w.ID()])
	}
	return list
}

func (p *primary) sample(ctx context.Context, w *cluster.Worker) telemetry.SlotReport {
	p.mu.Lock()
	peer, last := p.peers[w.ID()], p.reports[w.ID()]
	p.mu.Unlock()
	s := sampleOf(w, last)
	switch state := w.State(); {
	case state == cluster.StateStarting || state == cluster.StateDead:
	case peer == nil:
		s.Stale = true
	default:
		fresh, err := peer.Report(ctx)
		if s.Stale = err != nil; err == nil {
			s.Report = fresh
			p.mu.Lock()
			if p.ports[w.ID()] != nil { // it has not ended meanwhile
				p.reports[w.ID()] = fresh
			}
			p.mu.Unlock()
		}
	}
	return s
}

// samples are the reports of all workers at this moment. What the primary itself counts of their slots is in the totals
// then.
func (d *desk) samples(ctx context.Context) []telemetry.SlotReport {
	for slot, n := range d.crew.dropped() {
		if n > 0 {
			d.totals.SetOwn(slot, telemetry.Report{Limits: map[string]uint64{limitWorkerQueue: n}})
		}
	}
	return d.crew.samples(ctx)
}

// scraped is samples for the metrics.
func (d *desk) scraped() []telemetry.SlotReport { return d.samples(context.Background()) }

// limitWorkerQueue counts messages that the hub could not pass on to a worker.
const limitWorkerQueue = "worker_queue"
