package expedite

import (
	"errors"
	"fmt"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/primary"
	"github.com/expedite-go/expedite/internal/registry"
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

// joinMachines finds out who is in topics in a process that serves alone, and connects its hub with other machines, if
// there are any.
func (a *App) joinMachines(r *around, hub *broker.Hub, reg *registry.Server) error {
	plane, kind, err := a.cfg.plane()
	if err != nil {
		return err
	}
	kept, _, err := a.cfg.histories()
	if err != nil {
		return err
	}
	if r.presence, err = a.trackPresence(hub, reg, plane); err != nil || plane == nil {
		return err
	}
	node := reg.Node()
	c := relay.Config{
		Node: node, Machine: connid.MachineOf(node), Backplane: plane, Keep: primary.Retentions(kept),
	}
	if r.presence != nil {
		c.Presence = r.presence
	}
	r.machines, r.kind = relay.New(c, hub), kind
	return nil
}
