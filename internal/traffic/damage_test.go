package traffic

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDamage checks that every kind of damage in transit, in either direction and for every kind of client, shows in
// the report. It shows that a clean report is meaningful.
func TestDamage(t *testing.T) {
	addr, end := serve(t)
	t.Cleanup(end)
	for _, tt := range []struct {
		name, target string
		cfg          Config
	}{
		{"small", pathEcho, Config{Small: 2}},
		{"fragmented", pathEcho, Config{Fragmented: 1}},
		{"dribbling", pathEcho, Config{Dribbling: 1}},
		{"slow", pathEcho, Config{Slow: 1}},
		{"publisher", pathTopic, Config{Topics: 1, SubscribersPerTopic: 0}},
		{"subscriber", pathTopic + "?as=subscriber", Config{Topics: 1, SubscribersPerTopic: 1}},
		{"directed", pathUser, Config{Directed: 2}},
		{"directed to itself", pathUser, Config{Directed: 1}},
		{"counting", pathCount, Config{Counting: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var work sync.WaitGroup
			defer work.Wait()
			for _, d := range append([]damage{noDamage}, damages...) {
				for _, up := range []bool{true, false} {
					if up && tt.name == "subscriber" {
						continue // it sends nothing
					}
					p := &proxy{target: tt.target, up: up, damage: d, server: addr, spare: 6}
					if tt.cfg.Slow+tt.cfg.Fragmented > 0 {
						p.spare = 2 // their frames are long
					}
					cfg := tt.cfg
					cfg.Addr, cfg.Rate, cfg.Patience = p.listen(t), 20, time.Second
					work.Go(func() {
						if err := damaged(t.Context(), p, cfg); err != nil {
							t.Errorf("%s, up %v: %v", d.name, up, err)
						}
					})
				}
			}
		})
	}
}

// noDamage is the control of TestDamage: a proxy without damage must give a clean report.
var noDamage = damage{"nothing", func(b []byte, _ int) ([]byte, bool, bool) { return b, false, false }}

// damaged runs clients through a proxy until the damage is done and detected, or time is up.
func damaged(ctx context.Context, p *proxy, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	harmless := p.damage.name == noDamage.name
	if harmless {
		cfg.Patience = patience
	}
	r, err := Start(ctx, cfg)
	if err != nil {
		if p.done.Load() && !harmless {
			return nil // detected during the start
		}
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	// Missing messages show only in Stop.
	var seen <-chan time.Time
	for waiting := true; waiting && r.Snapshot().Err() == nil; {
		if seen == nil && p.done.Load() {
			seen = time.After(500 * time.Millisecond)
		}
		select {
		case <-tick.C:
		case <-seen:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	done := p.done.Load()
	report := r.Stop(ctx)
	switch err := report.Err(); {
	case !done:
		return fmt.Errorf("the proxy did no damage: %w", errors.Join(ctx.Err(), err))
	case harmless:
		return err
	case err == nil || len(report.Problems) == 0:
		return fmt.Errorf("the report is clean: %+v", report)
	}
	return nil
}

// TestChurnDamage checks that a damaged short connection counts as failed.
func TestChurnDamage(t *testing.T) {
	addr, end := serve(t)
	t.Cleanup(end)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			p := &proxy{target: pathEcho, damage: d, server: addr, spare: 1}
			r := start(t, Config{Addr: p.listen(t), Churn: 2, Rate: 50, Patience: 5 * time.Second})
			until(t, "a failure", func() bool { return r.Snapshot().ChurnFailed > 0 })
			if report := stop(t, r); report.ChurnFailed != 1 || report.Err() == nil {
				t.Errorf("got %+v, want one failure", report)
			}
		})
	}
}

// TestServerGone checks that every client notices when the server stops, and that Stop returns. Slow clients may notice
// only in Stop.
func TestServerGone(t *testing.T) {
	addr, end := serve(t)
	cfg := Mix(addr, 40)
	cfg.Rate, cfg.Patience = 20, 200*time.Millisecond
	r := start(t, cfg)
	end()
	if report := stop(t, r); report.Disconnected+report.CloseFailed != report.Connected || report.Err() == nil {
		t.Errorf("got %d of %d disconnected, want all: %+v", report.Disconnected, report.Connected, report)
	}
}

// TestStartFails checks that Start returns an error if the server is unreachable.
func TestStartFails(t *testing.T) {
	addr, end := serve(t)
	end()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := Start(ctx, Mix(addr, 40)); err == nil {
		t.Error("got no error")
	}
}

// TestCheckAudit checks that each connection must be opened exactly once and then closed exactly once.
func TestCheckAudit(t *testing.T) {
	for _, tt := range []struct {
		text          string
		opens, closes int
		want          string // part of the error; empty means no error
	}{
		{"", 0, 0, ""},
		{"open a\nopen b\nclose b\nclose a\n", 2, 2, ""},
		{"open a\n", 1, 0, "a opened 1 times, closed 0 times"},
		{"close a\n", 0, 1, "a opened 0 times"},
		{"open a\nopen a\nclose a\n", 2, 1, "a opened 2 times"},
		{"open a\nclose a\nclose a\n", 1, 2, "closed 2 times"},
		{"close a\nopen a\n", 1, 1, "a closed before it was opened"},
		{"open a\nclo", 1, 0, `line "clo"`},
	} {
		file := filepath.Join(t.TempDir(), "audit")
		write(t, file, tt.text)
		opens, closes, err := CheckAudit(file)
		if opens != tt.opens || closes != tt.closes {
			t.Errorf("%q: got %d, %d; want %d, %d", tt.text, opens, closes, tt.opens, tt.closes)
		}
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: got %v, want %q", tt.text, err, tt.want)
		}
	}
	if _, _, err := CheckAudit(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file: got no error")
	}
}
