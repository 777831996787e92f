package expedite

import (
	"errors"
	"fmt"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/relay"
)

// plane returns what leads to other machines, and its kind; nil if there are none. It has not started: each process has
// one, and only the primary starts its own, or a process that serves alone.
func (c *Config) plane() (plane backplane.Backplane, kind string, err error) {
	switch {
	case c.Backplane != nil && isNil(c.Backplane): // the result of a constructor that has failed, for instance
		return nil, "", fmt.Errorf("expedite: Config.Backplane is a nil %T", c.Backplane)
	case c.Backplane != nil:
		return c.Backplane, "custom", nil
	case c.Sessions.Redis == "":
		return nil, "", nil
	}
	redis, err := redisplane.New(append([]string{c.Sessions.Redis}, c.MoreRedis...), redisplane.Config{})
	if err != nil {
		return nil, "", fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
	}
	return redis, "redis", nil
}

// manyMachines reports whether there may be other machines.
func (c *Config) manyMachines() bool { return c.Backplane != nil || c.Sessions.Redis != "" }

// checkHistory returns why topics cannot keep messages.
func (c *Config) checkHistory() error {
	if _, _, err := c.histories(); err != nil {
		return err
	}
	if _, ok := c.Backplane.(backplane.History); len(c.History) > 0 && c.Backplane != nil && !ok {
		return errors.New("expedite: Config.History: Config.Backplane keeps no messages: it is no backplane.History")
	}
	return nil
}

// joinMachines connects the hub of a process that serves alone with other machines; nil if there are none.
func (a *App) joinMachines(hub *broker.Hub, node uint64) (r *relay.Relay, kind string, err error) {
	plane, kind, err := a.cfg.plane()
	if plane == nil || err != nil {
		return nil, "", err
	}
	kept, _, err := a.cfg.histories()
	if err != nil {
		return nil, "", err
	}
	c := relay.Config{
		Node: node, Machine: connid.MachineOf(node), Backplane: plane, Keep: primary.Retentions(kept),
	}
	return relay.New(c, hub), kind, nil
}
