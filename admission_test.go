package expedite

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/memory"
)

// TestAdmission: memory is short below the reserve, and there again from a quarter above it; each change is told once.
func TestAdmission(t *testing.T) {
	var now memory.Usage
	var fault error
	var told []bool
	var log bytes.Buffer
	a := &admission{
		read: func() (memory.Usage, error) { return now, fault },
		set:  func(short bool) { told = append(told, short) },
		log:  slog.New(slog.NewTextHandler(&log, nil)), reserve: 100,
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
		now, fault = memory.Usage{Limit: 2000, Available: s.available, AvailableOf: "/app"}, s.fault
		next := a.look()
		if a.short != s.short {
			t.Errorf("%s: got short %t, want %t", s.name, a.short, s.short)
		}
		if soon := s.available < 400; (next == admissionSoon) != soon || (next == admissionEvery) == soon {
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

// TestAdmissionRuns: it looks at once, again after its time, and ends when it is told to.
func TestAdmissionRuns(t *testing.T) {
	told := make(chan bool, 1)
	reserve := int64(1) << 60 // more than any machine has
	a := newAdmission(Tuning{MemoryReserve: reserve}, func(short bool) { told <- short }, slog.New(slog.DiscardHandler))
	if a == nil {
		t.Skip("this system does not tell how much memory there is")
	}
	go a.run() // ends with stop
	if !<-told {
		t.Error("memory is not short of a reserve that nobody has")
	}
	a.stop()

	off := newAdmission(Tuning{MemoryReserve: -1}, nil, nil)
	if off != nil {
		t.Error("a reserve of none is looked after")
	}
	off.run()
	off.stop()
}

// TestAdmissionRelieves: while memory is short, this worker's part of what is missing is asked of its connections.
func TestAdmissionRelieves(t *testing.T) {
	available, needs := int64(1000), []int64(nil)
	a := &admission{
		read: func() (memory.Usage, error) { return memory.Usage{Limit: 2000, Available: available}, nil },
		set:  func(bool) {}, log: slog.New(slog.DiscardHandler), reserve: 100, workers: 2,
		shed: func(need int64, done func(int64)) bool {
			needs = append(needs, need)
			done(0)
			return true
		},
	}
	for _, available = range []int64{1000, 100, 99, 45, 124, 125, 124} {
		a.look()
	}
	if want := []int64{14, 41, 1}; !slices.Equal(needs, want) {
		t.Errorf("asked for %v, want %v", needs, want)
	}
}
