package primary

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// Reports implements WorkerGroup.
func (g *group) Reports(context.Context) []telemetry.SlotReport { return g.reports }

// TestDrainIsInherited: the program that replaces this one tells all workers where the drain is, under the number that
// they know it by: also that it was undone, because one of them may have missed that.
func TestDrainIsInherited(t *testing.T) {
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.NewServer(t.Context(), registry.Config{Journal: j, Moving: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	var mu sync.Mutex
	var told []byte
	reg.Join(1, func(m []byte) error {
		mu.Lock()
		defer mu.Unlock()
		told = bytes.Clone(m)
		return nil
	})
	want := func(what string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !bytes.Contains(told, []byte(what)) {
			t.Errorf("the worker was told %q, want %s", told, what)
		}
		told = nil
	}
	next := func(before *drainer) *drainer {
		d := &drainer{log: slog.New(slog.DiscardHandler), registry: reg, workers: &group{}}
		t.Cleanup(d.close)
		if before != nil {
			before.close()
			d.resume(*before.leave())
		}
		return d
	}
	d := next(nil)
	if d.leave() != nil {
		t.Error("there is a drain before the first one")
	}
	d.begin(control.DrainRequest{SettleSeconds: 3600, OverSeconds: 3600})
	want(`"number":1,"unready":true}`)
	d = next(d)
	want(`"number":1,"unready":true}`)
	d.undo()
	want(`"number":2}`)
	d = next(d)
	want(`"number":2}`)
	if phase := d.phase(); phase != "" {
		t.Errorf("the phase is %s, want none", phase)
	}
	d.begin(control.DrainRequest{SettleSeconds: 3600})
	want(fmt.Sprintf(`"number":%d,"unready":true`, 3))
}
