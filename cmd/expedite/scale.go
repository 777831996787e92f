package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

// scaleCmd is `expedite scale`.
type scaleCmd struct {
	Workers string `arg:"" help:"How many worker processes there shall be." placeholder:"N"`
	rollFlags
}

// Help is shown by `expedite scale --help`.
func (scaleCmd) Help() string {
	return `New workers take new clients. The connections of those that go move to the ones that stay.
The code is 0 only if all of these moved.

Examples:
  expedite scale 8
  expedite scale 2 --watch`
}

// Run asks and waits for the end.
func (s *scaleCmd) Run(c *console) error {
	n, err := strconv.Atoi(s.Workers)
	if err != nil || n < 1 || n > expedite.MaxWorkers {
		return usageError{fmt.Errorf("scale %q: want a number from 1 to %d", s.Workers, expedite.MaxWorkers)}
	}
	req := control.ScaleRequest{Workers: n}
	return s.run(c, "scaled to", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Scale(ctx, req, on)
	})
}
