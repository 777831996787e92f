package cluster

import "time"

// Restart tells when a worker that has died is started again: at once the first time, then after a delay that doubles
// with each crash. A worker that crashes again and again is left alone for a while, so that it does not keep the
// machine busy with starting. Zero fields have defaults.
type Restart struct {
	// Delay is what the second crash in a row waits for. 0 is 100 ms.
	Delay time.Duration
	// MaxDelay is where doubling ends. 0 is 30 s.
	MaxDelay time.Duration
	// Healthy is how long a worker must have run for its crash to count as the first. 0 is 10 s.
	Healthy time.Duration
	// MaxCrashes within Window open the breaker: the slot is dead. 0 is 5; negative is never.
	MaxCrashes int
	// Window is what MaxCrashes is counted in. 0 is 30 s.
	Window time.Duration
	// Rest is how long a dead slot stays empty before it is tried once more. 0 is 30 s.
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

// history is what a slot remembers of its crashes.
type history struct {
	crashes []time.Time // within the window
	delay   time.Duration
	open    bool // the breaker
}

// crashed notes the end of a worker that was started at began, and says how long to wait before the next, and whether
// the slot is dead until then.
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
