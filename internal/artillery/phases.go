package artillery

import (
	"math"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// Limits of phases.
const (
	maxPhases = 1000
	maxRate   = 1e6 // users per second
	maxUsers  = 1e9
)

// phases compiles config.phases. Without phases, one user arrives, as in artillery.
func (c *compiler) phases(n *node) ([]loadtest.Phase, error) {
	if n == nil || n.kind == null {
		return []loadtest.Phase{{Count: 1}}, nil
	}
	if err := n.is(list); err != nil {
		return nil, err
	}
	if len(n.items) == 0 || len(n.items) > maxPhases {
		return nil, n.fault("want 1 to %d phases", maxPhases)
	}
	var out []loadtest.Phase
	arrivals := false
	for _, item := range n.items {
		p, err := c.phase(item)
		if err != nil {
			return nil, err
		}
		arrivals = arrivals || p.Count > 0 || p.Rate > 0 || p.EndRate > 0
		out = append(out, p)
	}
	if !arrivals {
		return nil, n.fault("no user arrives in any phase")
	}
	return out, nil
}

func (c *compiler) phase(n *node) (p loadtest.Phase, err error) {
	err = n.known("name", "duration", "pause", "arrivalRate", "rampTo", "arrivalCount", "maxVusers", "mode")
	if err != nil {
		return p, err
	}
	if name := n.get("name"); name != nil {
		if p.Name, err = c.config.fixedText(name); err != nil {
			return p, err
		}
	}
	if err := c.mode(n.get("mode")); err != nil {
		return p, err
	}
	if n.get("pause") != nil {
		if err := alone(n, "pause", "arrivalRate", "rampTo", "arrivalCount", "duration"); err != nil {
			return p, err
		}
		return p, c.span(n, "pause", &p)
	}
	switch {
	case n.get("arrivalCount") != nil:
		err = c.count(n, &p)
	case n.get("rampTo") != nil || n.get("arrivalRate") != nil:
		err = c.rates(n, &p)
	default:
		return p, n.fault("want arrivalRate, rampTo, arrivalCount or pause")
	}
	if err != nil || n.get("maxVusers") == nil {
		return p, err
	}
	limit, err := c.amount(n.get("maxVusers"), maxUsers)
	p.MaxUsers = int(limit)
	if err == nil && p.MaxUsers == 0 { // maxVusers 0 lets no user arrive
		p.Rate, p.EndRate, p.Count = 0, 0, 0
	}
	return p, err
}

// count compiles a phase with a number of users.
func (c *compiler) count(n *node, p *loadtest.Phase) error {
	if err := alone(n, "arrivalCount", "arrivalRate", "rampTo"); err != nil {
		return err
	}
	users, err := c.amount(n.get("arrivalCount"), maxUsers)
	if err != nil {
		return err
	}
	if users != math.Trunc(users) {
		return n.get("arrivalCount").fault("want a whole number")
	}
	p.Count = int(users)
	if n.get("duration") == nil {
		return nil
	}
	return c.span(n, "duration", p)
}

// rates compiles a phase with a constant or changing rate.
func (c *compiler) rates(n *node, p *loadtest.Phase) (err error) {
	if rate := n.get("arrivalRate"); rate != nil {
		if p.Rate, err = c.amount(rate, maxRate); err != nil {
			return err
		}
	}
	p.EndRate = p.Rate
	if ramp := n.get("rampTo"); ramp != nil {
		if p.EndRate, err = c.amount(ramp, maxRate); err != nil {
			return err
		}
	}
	if n.get("duration") == nil {
		return n.fault("want duration")
	}
	return c.span(n, "duration", p)
}

func (c *compiler) amount(n *node, limit float64) (float64, error) {
	v, err := c.config.fixedNumber(n)
	if err == nil && v > limit {
		err = n.fault("want at most %.0f", limit)
	}
	return v, err
}

// span compiles the duration of a phase.
func (c *compiler) span(n *node, key string, p *loadtest.Phase) error {
	n = n.get(key)
	v, err := c.config.fixed(n)
	if err != nil {
		return err
	}
	d, fraction, ok := seconds(v)
	if !ok || d <= 0 || fraction {
		text := appendJSON(nil, n.value())
		return n.fault("%s is not a valid %s: want whole seconds, or text like 500ms or 1.5m", text, key)
	}
	p.Duration = d
	return nil
}

// alone returns an error if the node has both key and one of the others.
func alone(n *node, key string, others ...string) error {
	for _, o := range others {
		if n.get(o) != nil {
			return n.get(o).fault("a phase with %s cannot have %s", key, o)
		}
	}
	return nil
}

// mode compiles how arrivals are spread.
func (c *compiler) mode(n *node) error {
	if n != nil && n.text != "uniform" {
		return n.fault("arrivals are always uniform: remove mode")
	}
	return nil
}
