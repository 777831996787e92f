package traffic

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
)

// patience bounds every wait in these tests.
const patience = 90 * time.Second

// serve runs the application in this process. The returned function stops it and waits until it has ended.
func serve(t *testing.T) (addr string, stop func()) {
	t.Helper()
	started := make(chan expedite.Started, 1)
	app := expedite.New(expedite.Config{
		Addr: "127.0.0.1:0", Workers: -1, DrainTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
		WorkerOutput: io.Discard, OnStart: func(s expedite.Started) { started <- s },
	})
	Routes(app)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }() // ends with stop
	select {
	case s := <-started:
		return s.Addresses[0], func() {
			cancel(expedite.ErrStopNow)
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	case err := <-ended:
		cancel(nil)
		t.Fatal(err)
	case <-time.After(patience):
		cancel(nil)
		t.Fatal("the application did not start in time")
	}
	return "", nil
}

// start starts clients and stops the test if that fails.
func start(t *testing.T, cfg Config) *Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stop stops the clients and returns the final report.
func stop(t *testing.T, r *Run) Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return r.Stop(ctx)
}

// until polls ok every few milliseconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal(what + ": not in time")
		}
	}
}

// TestCleanRun checks that a correct server gets a clean report, and that the audit contains each connection exactly
// once.
func TestCleanRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	t.Setenv(AuditVariable, file)
	addr, end := serve(t)
	cfg := Mix(addr, 200)
	cfg.Rate, cfg.Patience = 8, patience
	r := start(t, cfg)
	until(t, "every kind of message", func() bool {
		s := r.Snapshot()
		return s.Echoes > 1000 && s.Broadcasts > 100 && s.Directed > 100 && s.Counted > 50 && s.Pongs > 20 && s.Churned > 3
	})
	window, again := r.Mark(), r.Mark()
	report := stop(t, r)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Connected != 200 || cfg.Clients() != 200 {
		t.Errorf("connected %d of %d, want 200", report.Connected, cfg.Clients())
	}
	if window.Count == 0 || window.P50 == 0 || window.P50 > window.P99 || window.P99 > window.Max ||
		again.Count >= window.Count || report.RTT.Count < window.Count {
		t.Errorf("round trips: %v, then %v, in all %v", window, again, report.RTT)
	}
	end()
	opens, closes, err := CheckAudit(file)
	if want := int(report.Connected + report.Churned); err != nil || opens != want || closes != want {
		t.Errorf("audit: %d opens, %d closes, %v; want %d of both", opens, closes, err, want)
	}
	t.Logf("%d messages, %v", report.Messages(), report.RTT)
}

// TestMix checks that Mix returns exactly n clients for any n.
func TestMix(t *testing.T) {
	for n := range 3000 {
		if got := Mix("", n).Clients(); got != n {
			t.Fatalf("Mix(%d): got %d clients", n, got)
		}
	}
	if c := Mix("", 2000); c.Small != 1200 || c.Slow != 100 || c.Topics != 20 || c.SubscribersPerTopic != 9 ||
		c.Directed != 200 {
		t.Errorf("Mix(2000): got %+v", c)
	}
}
