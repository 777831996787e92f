package cluster

import "time"

// Restart determines when a worker that has died is restarted: at once after its first crash, and then after a delay
// that doubles with each crash. If a worker crashes too often, a circuit breaker leaves its slot empty for a while,
// so that restarts do not keep the machine busy. Zero fields have defaults.
type Restart struct {
	// Delay is the delay after the second crash in a row. 0 is 100 ms.
	Delay time.Duration
	// MaxDelay is the longest delay. 0 is 30 s.
	MaxDelay time.Duration
	// Healthy is how long a worker must run for its next crash to count as the first. 0 is 10 s.
	Healthy time.Duration
	// MaxCrashes is the number of crashes within Window beyond which the breaker opens: the slot is dead. 0 is 5;
	// negative is no limit.
	MaxCrashes int
	// Window is the time in which crashes are counted for MaxCrashes. 0 is 30 s.
	Window time.Duration
	// Rest is how long a dead slot stays empty before the next attempt. 0 is 30 s.
	Rest time.Duration
}

func (r Restart) withDefaults() Restart {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&r.Delay, 100*time.Millisecond)
	def(&r.MaxDelay, 30*time.Second)
	def(&r.Healthy, 10*time.Second)
	def(&r.Window, 30*time.Second)
	def(&r.Rest, 30*time.Second)
	if r.MaxCrashes == 0 {
		r.MaxCrashes = 5
	}
	return r
}

// history records the recent crashes of a slot.
type history struct {
	crashes []time.Time // within the window
	delay   time.Duration
	open    bool // the breaker is open
}

// crashed records the crash of a worker that was started at began. It returns how long to wait before the next start,
// and whether the slot is dead until then.
func (h *history) crashed(r Restart, began, now time.Time) (wait time.Duration, dead bool) {
	if now.Sub(began) >= r.Healthy {
		*h = history{}
	}
	kept := h.crashes[:0]
	for _, t := range h.crashes {
		if now.Sub(t) < r.Window {
			kept = append(kept, t)
		}
	}
	h.crashes = append(kept, now)
	if h.open || (r.MaxCrashes > 0 && len(h.crashes) > r.MaxCrashes) {
		h.open = true
		return r.Rest, true
	}
	wait = h.delay
	h.delay = min(max(2*h.delay, r.Delay), r.MaxDelay)
	return wait, false
}
