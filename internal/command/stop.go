package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// stopCmd implements `expedite stop`.
type stopCmd struct {
	Control string        `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	Fast    bool          `help:"Close the connections at once instead of draining them."`
	Timeout time.Duration `help:"Time to wait for the end." default:"60s"`
}

// Help returns the text of `expedite stop --help`.
func (stopCmd) Help() string {
	return `The server stops accepting connections, closes its clients with 1012, a few at a time, and exits.

Examples:
  expedite stop
  expedite stop --fast`
}

// Run stops the server and waits for its end.
func (s *stopCmd) Run(stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	client, err := control.Dial(ctx, controlPath(s.Control))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Stop(ctx, control.StopRequest{Fast: s.Fast}); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "stopped")
	return err
}
