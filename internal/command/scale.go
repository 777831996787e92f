package command

import (
	"context"
	"fmt"
	"strconv"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

// scaleCmd implements `expedite scale`.
type scaleCmd struct {
	Workers string `arg:"" help:"Number of worker processes." placeholder:"N"`
	operationFlags
}

// Help returns the text of `expedite scale --help`.
func (scaleCmd) Help() string {
	return `New workers accept new clients. The connections of workers that end move to those that stay.
The exit code is 0 only if all of them moved.

Examples:
  expedite scale 8
  expedite scale 2 --watch`
}

// Run changes the number of workers and waits for the end.
func (s *scaleCmd) Run(c *Console) error {
	n, err := strconv.Atoi(s.Workers)
	if err != nil || n < 1 || n > expedite.MaxWorkers {
		return usageError{fmt.Errorf("scale %q: want a number from 1 to %d", s.Workers, expedite.MaxWorkers)}
	}
	req := control.ScaleRequest{Workers: n}
	return s.run(c, "scaled to", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Scale(ctx, req, on)
	})
}
