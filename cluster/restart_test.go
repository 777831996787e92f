package cluster

import (
	"slices"
	"testing"
	"time"
)

func TestRestartHistory(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	tests := []struct {
		name  string
		r     Restart
		ran   []time.Duration // how long each worker ran
		wait  []time.Duration
		death []int // the crashes that opened the breaker
	}{
		{
			"the first restart is at once, then the delay doubles, then the slot is dead",
			Restart{},
			[]time.Duration{s, 0, 0, 0, 0, 0},
			[]time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 30 * s},
			[]int{5},
		},
		{
			"a dead slot is tried once per rest",
			Restart{MaxCrashes: 1, Rest: 60 * s},
			[]time.Duration{0, 0, 0, 0},
			[]time.Duration{0, 60 * s, 60 * s, 60 * s},
			[]int{1, 2, 3},
		},
		{
			"a worker that ran well closes the breaker",
			Restart{MaxCrashes: 1},
			[]time.Duration{0, 0, 10 * s, 0},
			[]time.Duration{0, 30 * s, 0, 30 * s},
			[]int{1, 3},
		},
		{
			"a worker that ran well starts the delay anew",
			Restart{},
			[]time.Duration{0, 0, 10 * s, 0},
			[]time.Duration{0, 100 * ms, 0, 100 * ms},
			nil,
		},
		{
			"doubling ends at the largest delay",
			Restart{MaxCrashes: -1, MaxDelay: 300 * ms},
			[]time.Duration{0, 0, 0, 0, 0},
			[]time.Duration{0, 100 * ms, 200 * ms, 300 * ms, 300 * ms},
			nil,
		},
		{
			"crashes that are long past do not count",
			Restart{MaxCrashes: 2, Window: 10 * s},
			[]time.Duration{9 * s, 9 * s, 9 * s, 9 * s, 9 * s},
			[]time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.r.withDefaults()
			var h history
			var waits []time.Duration
			var deaths []int
			now := time.Unix(1000, 0)
			for i, ran := range tt.ran {
				began := now
				now = now.Add(ran)
				wait, dead := h.crashed(r, began, now)
				now = now.Add(wait)
				waits = append(waits, wait)
				if dead {
					deaths = append(deaths, i)
				}
			}
			if !slices.Equal(waits, tt.wait) || !slices.Equal(deaths, tt.death) {
				t.Errorf("waits %v, deaths %v, want %v, %v", waits, deaths, tt.wait, tt.death)
			}
		})
	}
}
