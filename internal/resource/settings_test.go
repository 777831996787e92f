package resource

import (
	"math"
	"runtime/debug"
	"slices"
	"testing"
)

const mib, gib = 1 << 20, 1 << 30

func hostOf(limit int64, cores int) Host {
	return Host{Memory: Memory{Limit: limit, LimitOf: "machine", Available: limit}, Cores: cores}
}

func TestWorkerEnv(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		host     Host
		workers  int
		environ  []string
		want     []string
	}{
		{
			"the workers share 80 % of the memory, and each has one processor more than its core",
			Settings{},
			hostOf(10*gib, 4), 4, nil,
			[]string{"GOMEMLIMIT=2147483640", "GOMAXPROCS=2"},
		},
		{
			"one worker gets all cores",
			Settings{},
			hostOf(gib, 8), 1, nil,
			[]string{"GOMEMLIMIT=858993440", "GOMAXPROCS=8"},
		},
		{
			"few workers share the cores",
			Settings{},
			hostOf(gib, 8), 3, nil,
			[]string{"GOMEMLIMIT=286331146", "GOMAXPROCS=4"},
		},
		{
			"a single core still gives two processors",
			Settings{},
			hostOf(gib, 1), 1, nil,
			[]string{"GOMEMLIMIT=858993440", "GOMAXPROCS=2"},
		},
		{
			"variables that are set stay as they are",
			Settings{},
			hostOf(gib, 4), 4,
			[]string{"GOMEMLIMIT=100MiB", "GOGC=50", "GOMAXPROCS=3"},
			nil,
		},
		{
			"an empty variable is not set",
			Settings{},
			hostOf(gib, 4), 4,
			[]string{"GOMEMLIMIT=", "GOMAXPROCS="},
			[]string{"GOMEMLIMIT=214748360", "GOMAXPROCS=2"},
		},
		{
			"settings override the environment",
			Settings{Memory: gib, GOGC: 200, Procs: 5},
			hostOf(64*gib, 4), 4,
			[]string{"GOMEMLIMIT=100MiB", "GOGC=50", "GOMAXPROCS=3"},
			[]string{"GOMEMLIMIT=268435456", "GOGC=200", "GOMAXPROCS=5"},
		},
		{
			"negative is off",
			Settings{Memory: -1, GOGC: -1},
			hostOf(gib, 2), 2, nil,
			[]string{"GOMEMLIMIT=off", "GOGC=off", "GOMAXPROCS=2"},
		},
		{
			"a heap limit is at least 32 MiB",
			Settings{Memory: 64 * mib},
			hostOf(gib, 2), 8, nil,
			[]string{"GOMEMLIMIT=33554432", "GOMAXPROCS=2"},
		},
		{"no limit if the memory is unknown", Settings{}, Host{Cores: 2}, 2, nil, []string{"GOMAXPROCS=2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.settings.WorkerEnv(tt.host, tt.workers, tt.environ); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestResolve: the limits take the environment into account, and each worker gets a share of the total rate.
func TestResolve(t *testing.T) {
	settings := Settings{ConnRate: Rate{In: 100, Out: 200}, Rate: Rate{In: 1000, Out: 3}}
	got := settings.Resolve(hostOf(10*gib, 4), 4, []string{"GOMEMLIMIT=100MiB", "GOGC=off", "GOMAXPROCS=7"})
	want := Limits{
		MemoryLimit: 10 * gib, HeapLimit: 100 * mib, MemoryReserve: 10 * gib / 100 * 5, GOGC: -1, Procs: 7,
		ConnRate: Rate{In: 100, Out: 200}, Rate: Rate{In: 250, Out: 1},
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReserve(t *testing.T) {
	tests := []struct {
		name         string
		setting      int64
		memory, want int64
	}{
		{"5 %", 0, 10000 * mib, 500 * mib},
		{"at least 64 MiB", 0, 512 * mib, 64 * mib},
		{"at most 1 GiB", 0, 256 * gib, gib},
		{"as set", 10 * mib, 256 * gib, 10 * mib},
		{"negative is none", -1, gib, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Settings{MemoryReserve: tt.setting}.reserve(tt.memory)
			if got/mib != tt.want/mib {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestApply: a process that serves alone limits its own heap, unless its environment does.
func TestApply(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetMemoryLimit(before); debug.SetGCPercent(percent) })
	tests := []struct {
		name     string
		settings Settings
		environ  []string
		limit    int64
	}{
		{"80 %", Settings{}, nil, 8 * gib},
		{"GOMEMLIMIT is set", Settings{}, []string{"GOMEMLIMIT=1GiB"}, before},
		{"no limit", Settings{Memory: -1, GOGC: 300}, nil, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			tt.settings.Apply(hostOf(10*gib, 2), tt.environ)
			if got := debug.SetMemoryLimit(-1); got/mib != tt.limit/mib && got/mib+1 != tt.limit/mib {
				t.Errorf("limit: got %d, want %d", got, tt.limit)
			}
		})
	}
	if got := debug.SetGCPercent(100); got != 300 {
		t.Errorf("GOGC: got %d, want 300", got)
	}
	if got := (Settings{}).Running(hostOf(gib, 2), 1, nil); got.HeapLimit != 0 || got.Procs < 1 {
		t.Errorf("running: got %+v, want no limit", got)
	}
}
