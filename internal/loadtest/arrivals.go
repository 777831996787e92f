package loadtest

import (
	"math"
	"time"
)

// arrivals goes through the arrivals of all phases in the order of time.
type arrivals struct {
	phases []Phase
	phase  int
	begin  time.Duration // of the phase
	index  int           // of the next one in the phase
	number int           // of the next one in all
}

// arrival is one user who comes.
type arrival struct {
	at     time.Duration // since the beginning
	number int
	phase  *Phase
}

// peek is the next one; false is that there is none.
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

// pop goes on to the one behind.
func (a *arrivals) pop() {
	a.index++
	a.number++
}

// users is the number of users of all phases.
func (p *Plan) users() (n int) {
	for i := range p.Phases {
		n += p.Phases[i].users()
	}
	return n
}

// users is the number of users that arrive in a phase.
func (p *Phase) users() int {
	if p.Count > 0 {
		return p.Count
	}
	// The area under the line of the rate; what is lost by rounding is put back.
	return int((p.Rate+p.EndRate)/2*p.Duration.Seconds() + 1e-6)
}

// arrival is when user k of a phase arrives, after its beginning.
func (p *Phase) arrival(k int) time.Duration {
	length := p.Duration.Seconds()
	var t float64
	switch slope := (p.EndRate - p.Rate) / length; {
	case p.Count > 0:
		t = float64(k) * length / float64(p.Count)
	case p.Rate == p.EndRate:
		t = float64(k) / p.Rate
	default:
		// The time at which k have arrived: slope/2·t² + rate·t = k.
		t = (math.Sqrt(max(p.Rate*p.Rate+2*slope*float64(k), 0)) - p.Rate) / slope
	}
	return time.Duration(min(max(t, 0), length) * float64(time.Second))
}
