package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// stopCmd is `expedite stop`.
type stopCmd struct {
	Control string        `help:"Unix socket of the running server." placeholder:"PATH"`
	Fast    bool          `help:"Cut the connections instead of draining them."`
	Timeout time.Duration `help:"How long to wait for the end." default:"60s" placeholder:"60s"`
}

// Help is shown by `expedite stop --help`.
func (stopCmd) Help() string {
	return `The server stops accepting, closes its clients with 1012 a few at a time, and ends.

Examples:
  expedite stop
  expedite stop --fast`
}

// Run asks and waits for the end.
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
