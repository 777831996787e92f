package main

import (
	"context"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// sessionsCmd is `expedite sessions`.
type sessionsCmd struct {
	Control string `help:"Unix socket of the running server." placeholder:"PATH"`
	User    string `help:"Only those of this user." placeholder:"USER" env:"-"`
	Limit   int    `help:"At most so many." default:"1000" placeholder:"1000" env:"-"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help is shown by `expedite sessions --help`.
func (sessionsCmd) Help() string {
	return `A client's session outlives its connections. With --user these are all of a user's sessions, without it those
that are connected to this machine.

Examples:
  expedite sessions
  expedite sessions --user alice
  expedite sessions --user alice --json | jq '.sessions[] | select(.connected) | .id'`
}

// Run asks and prints.
func (s *sessionsCmd) Run(stdout io.Writer) error {
	list, err := operate(s.Control, func(ctx context.Context, to *control.Client) (control.SessionList, error) {
		return to.Sessions(ctx, control.SessionsRequest{User: s.User, Limit: s.Limit})
	})
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(stdout, list)
	}
	return view.Sessions(stdout, list, time.Now())
}

// operateTimeout is a little more than a server takes at most.
const operateTimeout = 35 * time.Second

// operate asks the server at a control socket. What it refuses as wrong is wrong use.
func operate[R any](socket string, ask func(context.Context, *control.Client) (R, error)) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), operateTimeout)
	defer cancel()
	client, err := control.Dial(ctx, controlPath(socket))
	if err != nil {
		var none R
		return none, err
	}
	defer client.Close()
	res, err := ask(ctx, client)
	return res, misuse(err)
}
