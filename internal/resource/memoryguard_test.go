package resource

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestMemoryGuard: memory becomes short below the reserve and no longer is from a quarter above it, and each change is
// reported once.
func TestMemoryGuard(t *testing.T) {
	var now Memory
	var fault error
	var changes []bool
	var log bytes.Buffer
	g := &MemoryGuard{
		read: func() (Memory, error) { return now, fault },
		config: GuardConfig{
			SetShort: func(short bool) { changes = append(changes, short) },
			Log:      slog.New(slog.NewTextHandler(&log, nil)), Reserve: 100,
		},
	}
	steps := []struct {
		name      string
		available int64
		fault     error
		short     bool
	}{
		{"plenty", 1000, nil, false},
		{"less than four reserves", 399, nil, false},
		{"exactly the reserve", 100, nil, false},
		{"below", 99, nil, true},
		{"still below", 10, nil, true},
		{"above, but by less than a quarter", 120, nil, true},
		{"an error changes nothing", 1000, errors.New("gone"), true},
		{"by a quarter above", 125, nil, false},
		{"above, after it was enough", 110, nil, false},
		{"below again", 0, nil, true},
	}
	for _, s := range steps {
		now, fault = Memory{Limit: 2000, Available: s.available, AvailableOf: "/app"}, s.fault
		next := g.check()
		if g.short != s.short {
			t.Errorf("%s: got short %t, want %t", s.name, g.short, s.short)
		}
		if soon := s.available < 400; (next == guardSoon) != soon || (next == guardEvery) == soon {
			t.Errorf("%s: the next check is after %v", s.name, next)
		}
	}
	if got := len(changes); got != 3 {
		t.Errorf("got %d changes (%v), want 3", got, changes)
	}
	if got := strings.Count(log.String(), "\n"); got != 3 {
		t.Errorf("got %d log lines, want 3:\n%s", got, &log)
	}
	if want := "available_bytes=99 of=/app reserve_bytes=100 limit_bytes=2000"; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not contain %q:\n%s", want, &log)
	}
}

// TestMemoryGuardRuns: Run checks at once and ends with Stop, and a nil guard does nothing.
func TestMemoryGuardRuns(t *testing.T) {
	changes := make(chan bool, 1)
	reserve := int64(1) << 60 // more than any machine has
	g := NewMemoryGuard(GuardConfig{
		Reserve: reserve, SetShort: func(short bool) { changes <- short }, Log: slog.New(slog.DiscardHandler),
	})
	if g == nil {
		t.Skip("the available memory is unknown")
	}
	go g.Run() // ends with Stop
	if !<-changes {
		t.Error("memory is not short with a reserve that no machine has")
	}
	g.Stop()

	off := NewMemoryGuard(GuardConfig{})
	if off != nil {
		t.Error("got a guard without a reserve")
	}
	off.Run()
	off.Stop()
}

// TestMemoryGuardRelieves: while memory is short, a worker sheds its share of the missing memory.
func TestMemoryGuardRelieves(t *testing.T) {
	available, needs := int64(1000), []int64(nil)
	g := &MemoryGuard{
		read: func() (Memory, error) { return Memory{Limit: 2000, Available: available}, nil },
		config: GuardConfig{
			SetShort: func(bool) {}, Log: slog.New(slog.DiscardHandler), Reserve: 100, Workers: 2,
			Shed: func(need int64, done func(int64)) bool {
				needs = append(needs, need)
				done(0)
				return true
			},
		},
	}
	for _, available = range []int64{1000, 100, 99, 45, 124, 125, 124} {
		g.check()
	}
	if want := []int64{14, 41, 1}; !slices.Equal(needs, want) {
		t.Errorf("got requests for %v bytes, want %v", needs, want)
	}
}
