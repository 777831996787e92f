package engine

import "math"

// EventRate limits how often something may happen: PerSecond on average, and Burst at once. A PerSecond of 0 or less is
// no limit. A Burst of 0 or less is what may happen in a second, but at least 1.
type EventRate struct {
	PerSecond float64
	Burst     int
}

// On reports whether r limits anything.
func (r EventRate) On() bool { return r.PerSecond > 0 }

// cadence enforces an EventRate by the generic cell rate algorithm. All that it needs of the past is one number: when
// the next event is due if events come evenly. 0 belongs to something that has not happened for long enough. The zero
// cadence limits nothing.
type cadence struct {
	every int64 // ns from one event to the next
	slack int64 // ns by which an event may be early: the burst
}

// farthestCadence limits how far in the future a cadence can be, so that no sum overflows: 31 years.
const farthestCadence = 1e18

// cadence returns what enforces r, with a burst of at least least.
func (r EventRate) cadence(least float64) cadence {
	if !r.On() {
		return cadence{}
	}
	burst := float64(r.Burst)
	if r.Burst <= 0 {
		burst = math.Ceil(r.PerSecond)
	}
	every := max(math.Round(second/r.PerSecond), 1)
	slack := (max(burst, least, 1) - 1) * every
	return cadence{every: int64(min(every, farthestCadence)), slack: int64(min(slack, farthestCadence))}
}

func (k cadence) on() bool { return k.every != 0 }

// due returns when the next event is allowed, which is now or earlier if one is allowed now.
func (k cadence) due(next int64) int64 { return next - k.slack }

// after returns the state after another event, whether it is allowed or not.
func (k cadence) after(next, now int64) int64 {
	return min(max(next, now)+k.every, now+k.slack+farthestCadence)
}

// take records an event if it is allowed, and reports whether it is.
func (k cadence) take(next *int64, now int64) bool {
	if k.due(*next) > now {
		return false
	}
	*next = k.after(*next, now)
	return true
}
