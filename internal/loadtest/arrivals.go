package loadtest

import (
	"math"
	"time"
)

// arrivals iterates over the arrivals of all phases in chronological order.
type arrivals struct {
	phases []Phase
	phase  int
	begin  time.Duration // when the phase begins
	index  int           // of the next arrival, within its phase
	number int           // of the next arrival, over all phases
}

// arrival is the arrival of one virtual user.
type arrival struct {
	at     time.Duration // since the start of the run
	number int
	phase  *Phase
}

// peek returns the next arrival, and false if none is left.
func (a *arrivals) peek() (arrival, bool) {
	for a.phase < len(a.phases) {
		p := &a.phases[a.phase]
		if a.index < p.users() {
			return arrival{at: a.begin + p.arrival(a.index), number: a.number, phase: p}, true
		}
		a.begin += p.Duration
		a.phase++
		a.index = 0
	}
	return arrival{}, false
}

// pop advances to the arrival after the next one.
func (a *arrivals) pop() {
	a.index++
	a.number++
}

// users returns the number of users of all phases.
func (p *Plan) users() (n int) {
	for i := range p.Phases {
		n += p.Phases[i].users()
	}
	return n
}

// users returns the number of users that arrive in the phase.
func (p *Phase) users() int {
	if p.Count > 0 {
		return p.Count
	}
	// The area under the rate; the small term makes up for rounding errors.
	return int((p.Rate+p.EndRate)/2*p.Duration.Seconds() + 1e-6)
}

// arrival returns when user k of the phase arrives, measured from the start of the phase.
func (p *Phase) arrival(k int) time.Duration {
	length := p.Duration.Seconds()
	var t float64
	switch slope := (p.EndRate - p.Rate) / length; {
	case p.Count > 0:
		t = float64(k) * length / float64(p.Count)
	case p.Rate == p.EndRate:
		t = float64(k) / p.Rate
	default:
		// Solve slope/2·t² + rate·t = k, the time at which k users have arrived.
		t = (math.Sqrt(max(p.Rate*p.Rate+2*slope*float64(k), 0)) - p.Rate) / slope
	}
	return time.Duration(min(max(t, 0), length) * float64(time.Second))
}
