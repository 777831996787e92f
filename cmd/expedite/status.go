package main

import (
	"context"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// askTimeout bounds the questions to a running server.
const askTimeout = 10 * time.Second

// statusCmd is `expedite status`.
type statusCmd struct {
	Control string `help:"Unix socket of the running server." placeholder:"PATH"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help is shown by `expedite status --help`.
func (statusCmd) Help() string {
	return `Examples:
  expedite status
  expedite status --json | jq '.workers[] | {slot, pid, connections}'`
}

// Run asks and prints.
func (s *statusCmd) Run(stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	client, err := control.Dial(ctx, controlPath(s.Control))
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(stdout, st)
	}
	return view.Status(stdout, st)
}
