package main

import (
	"context"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// statusTimeout is longer than a server takes for its status.
const statusTimeout = 10 * time.Second

// statusCmd implements `expedite status`.
type statusCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite status --help`.
func (statusCmd) Help() string {
	return `Examples:
  expedite status
  expedite status --json | jq '.workers[] | {slot, pid, connections}'`
}

// Run prints the status.
func (s *statusCmd) Run(stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
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
