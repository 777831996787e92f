package expedite

import (
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/relay"
)

// joinMachines connects the hub of a process that serves alone with other machines, if there may be any. start begins,
// and returns what ends it.
func (a *App) joinMachines(hub *broker.Hub, node uint64) (start func() (end func())) {
	plane := a.cfg.Backplane
	if plane == nil {
		return func() func() { return func() {} }
	}
	r := relay.New(relay.Config{Node: node, Machine: connid.MachineOf(node), Backplane: plane}, hub)
	return func() func() {
		r.Start()
		return func() { _ = r.Close() }
	}
}
