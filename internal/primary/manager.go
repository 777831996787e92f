package primary

import (
	"context"
	"fmt"

	"github.com/expedite-go/expedite/internal/human"
	"github.com/expedite-go/expedite/internal/systemd"
)

// newManager returns the link to the service manager.
func newManager(c *ControlConfig, group WorkerGroup, drain func() (phase string)) *systemd.Notifier {
	return systemd.New(systemd.Config{
		Environment: c.Systemd, Log: c.logger(), Check: c.Check,
		Status: func() (string, int64) {
			text, connections := serviceStatus(group)
			if phase := drain(); phase != "" {
				text += ", draining: " + phase
			}
			return text, connections
		},
	})
}

// check blocks while a part of the primary hangs without which no worker can be replaced or told anything. The watchdog
// of the service manager then ends this process.
func (p *Primary) check() {
	if group := p.workers.cluster(); group != nil {
		group.Sync()
	}
	p.workers.hub.Stats()
	p.registry.Stats()
}

// serviceStatus returns the status for the service manager, and the number of connections, which is rounded in the
// status: that should not change all the time.
func serviceStatus(group WorkerGroup) (text string, connections int64) {
	slots := make(map[int]bool)
	for _, r := range group.Reports(context.Background()) {
		connections += r.Connections
		slots[r.Slot] = true
	}
	return fmt.Sprintf("%s, %s, generation %d", human.Count(uint64(rough(connections)), "connection"),
		human.Count(uint64(len(slots)), "worker"), group.Stats().Generation), connections
}

// rough returns a number rounded down to two digits.
func rough(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}
