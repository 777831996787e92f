package primary

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/history"
	"github.com/expedite-go/expedite/internal/relay"
)

const (
	// catchUpLimit is how long an operation waits for that of the program before to be complete.
	catchUpLimit = 10 * time.Second
	// bridgeLimit is how long a worker may take until it listens to the topics of this machine.
	bridgeLimit = 5 * time.Second
	// sentLimit is how long it may take to send what waits for other machines. The next program sends what comes later.
	sentLimit = 5 * time.Second
)

// joinMachines connects the hub with other machines, if there may be any. A program that has replaced another one goes
// on with its numbers, and hears what came meanwhile from the worker that has listened.
func (p *Primary) joinMachines() error {
	if p.cfg.Plane == nil {
		return nil
	}
	node := p.registry.Node()
	c := relay.Config{
		Node: node, Machine: connid.MachineOf(node), Backplane: p.cfg.Plane, Succeeds: p.before != nil,
		Keep: Retentions(p.cfg.History),
	}
	if p.presence != nil {
		c.Presence = p.presence
	}
	if p.before != nil && p.before.Bridge != 0 {
		c.EndBridge = func(ctx context.Context) error { return p.registry.EndBridge(ctx, p.before.Bridge) }
	}
	p.relay = relay.New(c, p.workers.hub)
	p.registry.OnBridged(p.relay.Bridged)
	if p.before == nil || p.before.Relay == nil {
		return nil
	}
	if err := p.relay.LoadState(p.before.Relay); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// leaveMachines prepares the replacement of this program: a worker listens to other machines, and nothing from them is
// delivered here any more. undo is for a program that was not replaced.
func (w *inheritanceWriter) leaveMachines(ctx context.Context) (undo func()) {
	if w.relay == nil {
		return func() {}
	}
	sent := sentLimit
	worker, err := uint64(0), w.relay.Stats().Backplane.Err
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, bridgeLimit)
		defer cancel()
		w.relay.Overlap()
		worker, err = w.registry.OpenBridge(ctx, w.relay.Topics())
	} else {
		sent = 0 // an outage must not delay the reload
	}
	if err != nil {
		w.cfg.logger().Warn("messages of other machines may be missed while the primary is replaced", "error", err)
	}
	w.bridge = worker
	w.relay.Suspend(sent)
	return func() {
		w.relay.Resume()
		ctx, cancel := context.WithTimeout(context.Background(), bridgeLimit)
		defer cancel()
		_ = w.registry.EndBridge(ctx, worker)
		w.bridge = 0
	}
}

// awaitMachines waits until this program has what its predecessor left on the way: a worker holds it.
func (w *inheritanceWriter) awaitMachines() {
	if w.relay == nil {
		return
	}
	limit := time.NewTimer(catchUpLimit)
	defer limit.Stop()
	select {
	case <-w.relay.CaughtUp():
	case <-limit.C:
	}
}

// Retentions returns how much topics keep in a backplane; nil if no topic keeps anything.
func Retentions(c history.Config) func(topic string) (backplane.Retention, bool) {
	if c.Rules.Len() == 0 {
		return nil
	}
	return func(topic string) (keep backplane.Retention, ok bool) {
		rule, ok := c.Rules.Find(topic)
		return backplane.Retention{Messages: rule.Messages, For: rule.For}, ok
	}
}
