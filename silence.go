package expedite

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/expedite-go/expedite/internal/engine"
)

// silence returns the idle timeout and the ping interval in force. An interval that nobody has chosen for this timeout
// is short enough for clients that only listen.
func (h *Handler) silence(c *Config) (idle, ping time.Duration) {
	idle = clamp(cmp.Or(h.IdleTimeout, c.IdleTimeout, engine.DefaultIdleTimeout))
	ping = clamp(cmp.Or(h.PingInterval, c.PingInterval, engine.DefaultPingInterval))
	chosen := h.PingInterval != 0 || h.IdleTimeout == 0 && c.PingInterval != 0
	if !chosen && idle > 0 && ping >= idle {
		ping = idle * 5 / 12 // as 50 s is of 120 s
	}
	return idle, ping
}

// checkSilence reports a ping interval that is not shorter than the idle timeout.
func (c *Config) checkSilence() error {
	if c.PingInterval == 0 {
		return nil
	}
	idle, ping := new(Handler).silence(c)
	return checkPings(interval{"Config.PingInterval", ping}, interval{"Config.IdleTimeout", idle})
}

// checkSilence reports what Config.checkSilence does for a handler with an interval of its own.
func (h *Handler) checkSilence(c *Config) error {
	if h.PingInterval == 0 {
		return nil
	}
	idle, ping := h.silence(c)
	of := "Handler.IdleTimeout"
	if h.IdleTimeout == 0 && c.IdleTimeout != 0 {
		of = "Config.IdleTimeout"
	}
	return checkPings(interval{"Handler.PingInterval", ping}, interval{of, idle})
}

// interval is a setting with its value.
type interval struct {
	name  string
	value time.Duration
}

// checkPings reports pings that come when their client counts as gone.
func checkPings(ping, idle interval) error {
	if idle.value <= 0 || ping.value < idle.value || idle.value >= clamp(math.MaxInt64) {
		return nil
	}
	return fmt.Errorf("%s is %s and %s %s: clients that only listen would be closed before they are pinged; "+
		"want a shorter interval", ping.name, ping.value, idle.name, idle.value)
}
