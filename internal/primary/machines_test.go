package primary

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// stuckPlane is a backplane whose queue does not get shorter.
type stuckPlane struct {
	backplane.Backplane
	err error
}

func (p stuckPlane) Status() backplane.Status { return backplane.Status{Err: p.err, Queued: 1} }

func (stuckPlane) Publish(string, []byte) error { return nil }

// TestReloadInAnOutage: while there is no way to other machines, the replacement of the program does not wait for one;
// otherwise it waits for a bridge, and for what is queued, but not for ever.
func TestReloadInAnOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want time.Duration
	}{
		"outage":    {errors.New("away"), 0},
		"no outage": {nil, bridgeLimit + sentLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 10})
				if err != nil {
					t.Fatal(err)
				}
				defer journal.Close()
				reg, err := registry.NewServer(t.Context(), registry.Config{
					Journal: journal, Moving: func() bool { return false },
				})
				if err != nil {
					t.Fatal(err)
				}
				reg.Join(1, func([]byte) error { return nil }) // a worker that never answers
				hub := broker.NewHub(func(uint64) int { return 1 })
				w := inheritanceWriter{
					cfg: &Config{ControlConfig: ControlConfig{Journal: journal}}, registry: reg,
					relay: relay.New(relay.Config{Node: 1, Backplane: stuckPlane{err: tt.err}}, hub),
				}
				began := time.Now() // of the bubble
				undo := w.leaveMachines(t.Context())
				if got := time.Since(began).Truncate(time.Second); got != tt.want {
					t.Errorf("it took %v, want %v", got, tt.want)
				}
				undo()
			})
		})
	}
}
