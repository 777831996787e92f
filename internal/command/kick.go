package command

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

// kickCmd implements `expedite kick`.
type kickCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	User    string `help:"Close all connections of this user." xor:"who" required:"" placeholder:"USER" env:"-"`
	Session string `help:"Close the connections of this session." xor:"who" required:"" placeholder:"ID" env:"-"`
	Conn    string `help:"Close this connection." xor:"who" required:"" placeholder:"ID" env:"-"`
	Reason  string `help:"Reason to send to the client, at most 123 bytes." placeholder:"TEXT" env:"-"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite kick --help`.
func (kickCmd) Help() string {
	return `Closes connections in all workers and on all machines, and counts those on this machine. --user and --session
also delete the sessions with their values; --conn does not. The clients may reconnect: expedite revoke prevents that.

Examples:
  expedite kick --user alice --reason "please log in again"
  expedite kick --conn 0040d3c1b2a59687`
}

// Run closes the connections and prints their number.
func (k *kickCmd) Run(stdout io.Writer) error {
	req := control.KickRequest{User: k.User, Session: k.Session, Conn: k.Conn, Reason: k.Reason}
	res, err := request(k.Control, func(ctx context.Context, to *control.Client) (control.KickResult, error) {
		return to.Kick(ctx, req)
	})
	if err != nil {
		return err
	}
	if k.JSON {
		err = PrintJSON(stdout, res)
	} else {
		_, err = fmt.Fprintln(stdout, closedText(res.Closed))
	}
	return errors.Join(err, warned(res.Warning))
}

// closedText returns how many connections were closed.
func closedText(n int) string {
	return "closed " + human.Count(max(n, 0), "connection") + " on this machine"
}
