package command

import (
	"context"

	"github.com/expedite-go/expedite/internal/control"
)

// rebalanceCmd implements `expedite rebalance`.
type rebalanceCmd struct {
	operationFlags
}

// Help returns the text of `expedite rebalance --help`.
func (rebalanceCmd) Help() string {
	return `Connections move from the workers that have the most to those that have the fewest.
The exit code is 0 only if all of them moved.

Examples:
  expedite rebalance
  expedite rebalance --watch`
}

// Run moves the connections and waits for the end.
func (r *rebalanceCmd) Run(c *Console) error {
	return r.run(c, "rebalanced", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Rebalance(ctx, on)
	})
}
