package expedite

import (
	"context"
	"errors"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// carePause is the time between two attempts to replace workers that have grown too large.
const carePause = 30 * time.Second

// care replaces a worker that holds more memory than it should: its connections move to a new process. It is called
// with each report.
func (p *primary) care(w *cluster.Worker, r telemetry.Report) {
	limit := p.app.cfg.MaxWorkerMemory
	if limit <= 0 || r.RSSBytes <= uint64(limit) || w.State() != cluster.StateReady {
		return
	}
	if last := p.cared.Load(); last != 0 && time.Since(time.Unix(0, last)) < carePause {
		return
	}
	p.cared.Store(time.Now().UnixNano())
	go func() { // ends with the replacement
		log := p.app.Logger().With("worker", w.Slot(), "pid", w.PID(), "rss_bytes", r.RSSBytes, "limit_bytes", limit)
		log.Warn("worker has grown too large: it is replaced")
		group := p.group.Load()
		if group == nil || !p.desk.op.TryLock() { // the next report tells again
			return
		}
		defer p.desk.release()
		res, err := group.Replace(context.Background(), w.Slot(), cluster.RollOptions{Drain: p.app.cfg.DrainTimeout})
		switch {
		case errors.Is(err, cluster.ErrBusy): // the next report tells again
		case err != nil:
			log.Error("worker not replaced", "error", err)
		default:
			log.Info("worker replaced", "moved", res.Moved, "drained", res.Drained, "failed", res.Failed)
		}
	}()
}
