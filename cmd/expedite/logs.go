package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/terminal"
	"github.com/expedite-go/expedite/internal/view"
)

// logsCmd is `expedite logs`.
type logsCmd struct {
	Control string `help:"Unix socket of the running server." placeholder:"PATH"`
	Follow  bool   `help:"Go on with the lines that come, until interrupted." short:"f" env:"-"`
	User    string `help:"Only lines about this user." placeholder:"USER" env:"-"`
	Session string `help:"Only lines about this session." placeholder:"ID" env:"-"`
	Conn    string `help:"Only lines about this connection." placeholder:"ID" env:"-"`
	Worker  int    `help:"Only lines of this worker." placeholder:"N" env:"-"`
	Level   string `help:"Only lines from this level on: debug, info, warn or error." placeholder:"LEVEL" env:"-"`
	JSON    bool   `help:"Print JSON also on a terminal." name:"json"`
}

// Help is shown by `expedite logs --help`.
func (logsCmd) Help() string {
	return `The latest lines of the primary and all workers, and with --follow those that come. With --follow, --level may
also be below the level at which the server writes its log.

Examples:
  expedite logs --follow --user alice
  expedite logs -f --level debug --conn 0040d3c1b2a59687
  expedite logs --level warn --json | jq .msg`
}

// Run asks, and prints until there are no more lines or somebody interrupts.
func (l *logsCmd) Run(c *console) error {
	if l.Worker < 0 {
		return usageError{fmt.Errorf("--worker %d: want a number from 1", l.Worker)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return l.read(ctx, c.out)
}

// read prints until ctx ends, which is no error.
func (l *logsCmd) read(ctx context.Context, w io.Writer) error {
	client, err := control.Dial(ctx, controlPath(l.Control))
	if err != nil {
		return quiet(ctx, err)
	}
	defer client.Close()
	req := control.LogsRequest{
		User: l.User, Session: l.Session, Conn: l.Conn, Worker: l.Worker, Level: l.Level, Follow: l.Follow, Recent: true,
	}
	show := view.JSONLines(w)
	if !l.JSON && terminal.Is(w) {
		if show, err = view.TextLines(w); err != nil {
			return err
		}
	}
	return quiet(ctx, misuse(client.Logs(ctx, req, show)))
}

// quiet is err, unless somebody has interrupted.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
