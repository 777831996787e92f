package command

import (
	"context"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// sessionsCmd implements `expedite sessions`.
type sessionsCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	User    string `help:"Only sessions of this user." placeholder:"USER" env:"-"`
	Limit   int    `help:"Number of sessions." default:"1000" env:"-"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite sessions --help`.
func (sessionsCmd) Help() string {
	return `A session outlives the connections of its client. With --user, lists all sessions of a user; without it, those
that are connected, to any machine with the same Redis.

Examples:
  expedite sessions
  expedite sessions --user alice
  expedite sessions --user alice --json | jq '.sessions[] | select(.connected) | .id'`
}

// Run prints the list.
func (s *sessionsCmd) Run(stdout io.Writer) error {
	list, err := request(s.Control, func(ctx context.Context, to *control.Client) (control.SessionList, error) {
		return to.Sessions(ctx, control.SessionsRequest{User: s.User, Limit: s.Limit})
	})
	if err != nil {
		return err
	}
	if s.JSON {
		return PrintJSON(stdout, list)
	}
	return view.Sessions(stdout, list, time.Now())
}
