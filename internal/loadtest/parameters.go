package loadtest

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/human"
)

// parameters returns the settings of the run by the name of their flag, without those that have their default. Tokens
// and header fields are left out, because they may be secrets.
func (c *Config) parameters() map[string]string {
	list := make(map[string]string)
	set := func(name, value string, is bool) {
		if is {
			list[name] = value
		}
	}
	script := c.Plan != nil
	ramp := c.Ramp.String()
	switch {
	case c.RampRate > 0:
		ramp = strconv.FormatFloat(c.RampRate, 'g', -1, 64) + "/s"
	case c.Ramp < 0:
		ramp = "0s"
	}
	duration := c.Duration.String()
	if c.Duration == 0 {
		duration = "until stopped"
	}
	talks := c.Mode == ModeEcho || c.Mode == ModeBroadcast
	set("connections", human.Number(uint64(c.Connections)), !script)
	set("ramp", ramp, !script)
	set("duration", duration, !script)
	set("rate", strconv.FormatFloat(c.Rate, 'g', -1, 64)+"/s", !script && talks && c.Rate > 0)
	set("rate", "the next at once", !script && talks && c.Rate == 0)
	set("size", human.Bytes(float64(c.Size)), !script && talks)
	set("pause", c.Pause.String(), !script && c.Mode == ModeStorm)
	set("timeout", c.Timeout.String(), c.Timeout != time.Duration(0))
	set("processes", strconv.Itoa(c.Processes), c.Processes > 0)
	set("subprotocol", strings.Join(c.Subprotocols, ", "), len(c.Subprotocols) > 0)
	set("local-addrs", prefixes(c.LocalAddrs), len(c.LocalAddrs) > 0)
	set("target-addrs", prefixes(c.TargetAddrs), len(c.TargetAddrs) > 0)
	set("ca", "of its own", c.CA != nil)
	set("insecure", "yes", c.Insecure)
	set("compression", "yes", c.Compression)
	return list
}

func prefixes(list []netip.Prefix) string {
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i] = p.String()
	}
	return strings.Join(parts, ",")
}
