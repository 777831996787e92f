package command

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

// logsCmd implements `expedite logs`.
type logsCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	Follow  bool   `help:"Continue with new lines until interrupted." short:"f" env:"-"`
	User    string `help:"Only lines about this user." placeholder:"USER" env:"-"`
	Session string `help:"Only lines about this session." placeholder:"ID" env:"-"`
	Conn    string `help:"Only lines about this connection." placeholder:"ID" env:"-"`
	Worker  int    `help:"Only lines of this worker." placeholder:"N" env:"-"`
	Level   string `help:"Lowest level: debug, info, warn or error. Default: all." placeholder:"LEVEL" env:"-"`
	JSON    bool   `help:"Print JSON on a terminal, too." name:"json"`
}

// Help returns the text of `expedite logs --help`.
func (logsCmd) Help() string {
	return `Shows the latest lines of the primary and all workers and, with --follow, new lines. With --follow, --level
may be lower than the level at which the server writes its log.

Examples:
  expedite logs --follow --user alice
  expedite logs -f --level debug --conn 0040d3c1b2a59687
  expedite logs --level warn --json | jq .msg`
}

// Run prints log lines until there are no more, or until it is interrupted.
func (l *logsCmd) Run(c *Console) error {
	if l.Worker < 0 {
		return usageError{fmt.Errorf("--worker %d: want a number from 1", l.Worker)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return l.read(ctx, c.Out)
}

// read prints log lines until ctx ends, which is not an error.
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

// quiet returns err, or nil if ctx has ended.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
