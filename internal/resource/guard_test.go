package resource

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestMemoryGuard: memory is short below the reserve, and there again from a quarter above it; each change is told
// once.
func TestMemoryGuard(t *testing.T) {
	var now Memory
	var fault error
	var told []bool
	var log bytes.Buffer
	a := &MemoryGuard{
		read: func() (Memory, error) { return now, fault },
		GuardConfig: GuardConfig{
			SetShort: func(short bool) { told = append(told, short) },
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
		{"it comes near", 399, nil, false},
		{"exactly the reserve is enough", 100, nil, false},
		{"below", 99, nil, true},
		{"still below", 10, nil, true},
		{"above, but not by a quarter", 120, nil, true},
		{"what cannot be read changes nothing", 1000, errors.New("gone"), true},
		{"by a quarter above", 125, nil, false},
		{"not so far above any more", 110, nil, false},
		{"below again", 0, nil, true},
	}
	for _, s := range steps {
		now, fault = Memory{Limit: 2000, Available: s.available, AvailableOf: "/app"}, s.fault
		next := a.check()
		if a.short != s.short {
			t.Errorf("%s: got short %t, want %t", s.name, a.short, s.short)
		}
		if soon := s.available < 400; (next == guardSoon) != soon || (next == guardEvery) == soon {
			t.Errorf("%s: looks again after %v", s.name, next)
		}
	}
	if got := len(told); got != 3 {
		t.Errorf("the engine was told %d times (%v), want 3", got, told)
	}
	if got := strings.Count(log.String(), "\n"); got != 3 {
		t.Errorf("%d lines were logged, want 3:\n%s", got, &log)
	}
	if want := "available_bytes=99 of=/app reserve_bytes=100 limit_bytes=2000"; !strings.Contains(log.String(), want) {
		t.Errorf("the log has no %q:\n%s", want, &log)
	}
}

// TestMemoryGuardRuns: it looks at once, again after its time, and ends when it is told to.
func TestMemoryGuardRuns(t *testing.T) {
	told := make(chan bool, 1)
	reserve := int64(1) << 60 // more than any machine has
	a := NewMemoryGuard(GuardConfig{
		Reserve: reserve, SetShort: func(short bool) { told <- short }, Log: slog.New(slog.DiscardHandler),
	})
	if a == nil {
		t.Skip("this system does not tell how much memory there is")
	}
	go a.Run() // ends with Stop
	if !<-told {
		t.Error("memory is not short of a reserve that nobody has")
	}
	a.Stop()

	off := NewMemoryGuard(GuardConfig{})
	if off != nil {
		t.Error("a reserve of none is looked after")
	}
	off.Run()
	off.Stop()
}

// TestMemoryGuardRelieves: while memory is short, this worker's part of what is missing is asked of its connections.
func TestMemoryGuardRelieves(t *testing.T) {
	available, needs := int64(1000), []int64(nil)
	a := &MemoryGuard{
		read: func() (Memory, error) { return Memory{Limit: 2000, Available: available}, nil },
		GuardConfig: GuardConfig{
			SetShort: func(bool) {}, Log: slog.New(slog.DiscardHandler), Reserve: 100, Workers: 2,
			Shed: func(need int64, done func(int64)) bool {
				needs = append(needs, need)
				done(0)
				return true
			},
		},
	}
	for _, available = range []int64{1000, 100, 99, 45, 124, 125, 124} {
		a.check()
	}
	if want := []int64{14, 41, 1}; !slices.Equal(needs, want) {
		t.Errorf("asked for %v, want %v", needs, want)
	}
}
