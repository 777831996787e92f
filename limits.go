package expedite

import (
	"fmt"
	"math"

	"github.com/expedite-go/expedite/internal/engine"
)

// EventRate limits how often something may happen: PerSecond on average, and Burst at once. A Burst of 0 is as many as
// in a second, but at least 1. In a Handler, the zero value is that of Config, and a negative PerSecond is no limit. In
// Config, the zero value is no limit.
type EventRate struct {
	PerSecond float64
	Burst     int
}

// RatePolicy decides what happens to messages beyond a message rate. Each use is counted.
type RatePolicy uint8

// The policies.
const (
	// RateClose closes the connection with 1008 (policy violation). The messages before are still delivered.
	RateClose RatePolicy = iota
	// RateDrop drops the message. The client does not notice.
	RateDrop
	// RateWait stops reading the client until the rate allows more, so that backpressure reaches it. Messages that had
	// been read already are handled; they count. Bursts of up to a quarter of a second are always allowed.
	RateWait
)

// String returns the policy in one word.
func (p RatePolicy) String() string {
	if p > RateWait {
		return "unknown"
	}
	return [...]string{"close", "drop", "wait"}[p]
}

// or returns the rate of a handler for which r is set: r, or that of Config.
func (r EventRate) or(config EventRate) engine.EventRate {
	if r.PerSecond == 0 {
		r = config
	}
	return engine.EventRate(r)
}

// check returns an error if r limits nothing in a sensible way.
func (r EventRate) check(field string) error {
	if math.IsNaN(r.PerSecond) || math.IsInf(r.PerSecond, 0) || r.Burst < 0 || r.PerSecond == 0 && r.Burst != 0 {
		return fmt.Errorf("%s is %v per second with a burst of %d: want a number per second, and a burst of 0 or more",
			field, r.PerSecond, r.Burst)
	}
	return nil
}

// messageRate returns the rate and the policy in force.
func (h *Handler) messageRate(c *Config) (engine.EventRate, engine.RatePolicy) {
	if h.MessageRate.PerSecond != 0 {
		return engine.EventRate(h.MessageRate), engine.RatePolicy(h.OverRate)
	}
	return engine.EventRate(c.MessageRate), engine.RatePolicy(c.OverRate)
}

// maxPerUser returns the limit in force; 0 is none.
func (h *Handler) maxPerUser(c *Config) int {
	if h.MaxPerUser != 0 {
		return max(h.MaxPerUser, 0)
	}
	return c.MaxPerUser
}

// maxMessage returns the limit in force.
func (h *Handler) maxMessage(c *Config) int64 {
	switch {
	case h.MaxMessage != 0:
		return h.MaxMessage
	case c.MaxMessage != 0:
		return c.MaxMessage
	default:
		return defaultMaxMessage
	}
}

// maxFragments returns the limit in force.
func (h *Handler) maxFragments(c *Config) int {
	switch {
	case h.MaxFragments != 0:
		return h.MaxFragments
	case c.MaxFragments != 0:
		return c.MaxFragments
	default:
		return defaultMaxFragments
	}
}

// checkRates reports rates that cannot work.
func (c *Config) checkRates() error {
	for _, r := range []struct {
		field string
		rate  EventRate
	}{{"MessageRate", c.MessageRate}, {"PublishRate", c.PublishRate}, {"ConnectRate", c.ConnectRate}} {
		if err := r.rate.check("Config." + r.field); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	if c.MaxMessage < 0 || c.MaxFragments < 0 || c.MaxPerUser < 0 || c.OverRate > RateWait {
		return fmt.Errorf("expedite: Config: a limit is negative or unknown")
	}
	return nil
}

// checkRates reports rates that cannot work.
func (h *Handler) checkRates() error {
	if err := h.MessageRate.check("Handler.MessageRate"); err != nil {
		return err
	}
	if h.OverRate > RateWait {
		return fmt.Errorf("Handler.OverRate is %d, which is no policy", h.OverRate)
	}
	return h.PublishRate.check("Handler.PublishRate")
}
