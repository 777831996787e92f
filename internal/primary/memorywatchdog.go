package primary

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// memoryWatchdog replaces workers that hold more memory than they may. Their connections move to a new process.
type memoryWatchdog struct {
	limit  int64 // resident memory in bytes; 0 or less is none
	roller *roller
	log    *slog.Logger
	last   atomic.Int64 // time of the latest attempt, in ns; 0 is none
}

// watchdogPause is the time between two attempts.
const watchdogPause = 30 * time.Second

// examine starts the replacement of a worker if its report shows too much memory. It does not wait for it.
func (d *memoryWatchdog) examine(w *cluster.Worker, r telemetry.Report) {
	if d.limit <= 0 || r.RSSBytes <= uint64(d.limit) || w.State() != cluster.StateReady {
		return
	}
	last, now := d.last.Load(), time.Now()
	if last != 0 && now.Sub(time.Unix(0, last)) < watchdogPause || !d.last.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	go d.replace(w, r.RSSBytes) // ends with the replacement
}

func (d *memoryWatchdog) replace(w *cluster.Worker, rss uint64) {
	log := d.log.With("worker", w.Slot(), "pid", w.PID(), "rss_bytes", rss, "limit_bytes", d.limit)
	log.Warn("worker has grown too large: it is replaced")
	switch res, err := d.roller.replace(context.Background(), w.Slot()); {
	case errors.Is(err, cluster.ErrBusy): // the worker's next report leads to another attempt
	case err != nil:
		log.Error("worker not replaced", "error", err)
	default:
		log.Info("worker replaced", "moved", res.Moved, "drained", res.Drained, "failed", res.Failed)
	}
}
