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

// departures replaces workers that another process has asked to end, as kill(1) does. Their connections move.
type departures struct {
	roller *roller
	log    *slog.Logger
	busy   atomic.Bool // during an attempt, and for departurePause after one that has failed
}

// departurePause is the time after a failed attempt.
const departurePause = 30 * time.Second

// examine starts the replacement of a worker that wants to leave. It does not wait for it.
func (d *departures) examine(w *cluster.Worker, r telemetry.Report) {
	if r.Leaving && w.State() == cluster.StateReady && d.busy.CompareAndSwap(false, true) {
		go d.replace(w) // ends with the replacement
	}
}

func (d *departures) replace(w *cluster.Worker) {
	log := d.log.With("worker", w.Slot(), "pid", w.PID())
	switch res, err := d.roller.replace(context.Background(), w.Slot()); {
	case errors.Is(err, cluster.ErrBusy), errors.Is(err, cluster.ErrStopped): // the next report leads to another attempt
	case err != nil:
		log.Error("a process has asked the worker to end, and it could not be replaced", "error", err)
		time.AfterFunc(departurePause, func() { d.busy.Store(false) })
		return
	default:
		log.Info("a process has asked the worker to end: it was replaced",
			"moved", res.Moved, "drained", res.Drained, "failed", res.Failed)
	}
	d.busy.Store(false)
}
