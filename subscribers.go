package expedite

import (
	"context"
	"strings"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/registry"
)

// IncompleteError reports that not all machines have answered.
type IncompleteError struct {
	// Missing says, for each machine that has not answered, which one it is and why.
	Missing []string
}

// Error names the machines.
func (e *IncompleteError) Error() string {
	return "expedite: not every machine has answered: " + strings.Join(e.Missing, "; ")
}

// Subscribers returns the number of connections that are subscribed to a topic, in all workers on all machines. A
// connection that moves between workers meanwhile is counted once. It asks every machine, so call it now and then, not
// for each message; while connections move, it takes a second longer. If a machine does not answer within two seconds,
// the error is an *IncompleteError, and the number is that of the others. Otherwise it fails with ErrTopic,
// ErrNotRunning or ErrOverloaded, or if a worker of this machine does not answer. It blocks, so do not call it in
// Inline callbacks, and is safe for concurrent use.
func (a *App) Subscribers(ctx context.Context, topic string) (int, error) {
	if broker.CheckTopic(topic) != nil {
		return 0, ErrTopic
	}
	var sum registry.Subscribers
	var err error
	switch r := a.role.Load(); {
	case r == nil:
		return 0, ErrNotRunning
	case r.control != nil:
		sum, err = r.control.Subscribers(ctx, topic)
	default:
		sum, err = r.worker.Registry().Subscribers(ctx, topic)
	}
	if sum.Busy {
		return 0, ErrOverloaded
	}
	if sum.Cause != "" {
		sum.Missing = append(sum.Missing, sum.Cause)
	}
	if err == nil && len(sum.Missing) > 0 {
		err = &IncompleteError{Missing: sum.Missing}
	}
	return sum.Count, err
}
