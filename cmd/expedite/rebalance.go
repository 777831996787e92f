package main

import (
	"context"

	"github.com/expedite-go/expedite/internal/control"
)

// rebalanceCmd is `expedite rebalance`.
type rebalanceCmd struct {
	rollFlags
}

// Help is shown by `expedite rebalance --help`.
func (rebalanceCmd) Help() string {
	return `Connections move from the workers that have the most to those that have the fewest.
The code is 0 only if all that were to move did.

Examples:
  expedite rebalance
  expedite rebalance --watch`
}

// Run asks and waits for the end.
func (r *rebalanceCmd) Run(c *console) error {
	return r.run(c, "rebalanced", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Rebalance(ctx, on)
	})
}
