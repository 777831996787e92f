package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

// kickCmd is `expedite kick`.
type kickCmd struct {
	Control string `help:"Unix socket of the running server." placeholder:"PATH"`
	User    string `help:"All connections of this user." xor:"who" required:"" placeholder:"USER" env:"-"`
	Session string `help:"The connections of this session." xor:"who" required:"" placeholder:"ID" env:"-"`
	Conn    string `help:"This connection." xor:"who" required:"" placeholder:"ID" env:"-"`
	Reason  string `help:"What the client is told, at most 123 bytes." placeholder:"TEXT" env:"-"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help is shown by `expedite kick --help`.
func (kickCmd) Help() string {
	return `The connections are closed, in all workers and on all machines; those of this machine are counted. With --user
and --session the sessions are deleted with their values, too, with --conn they stay. The clients may come back: to
keep them out use expedite revoke.

Examples:
  expedite kick --user alice --reason "please log in again"
  expedite kick --conn 0040d3c1b2a59687`
}

// Run asks and prints.
func (k *kickCmd) Run(stdout io.Writer) error {
	req := control.KickRequest{User: k.User, Session: k.Session, Conn: k.Conn, Reason: k.Reason}
	res, err := operate(k.Control, func(ctx context.Context, to *control.Client) (control.KickResult, error) {
		return to.Kick(ctx, req)
	})
	if err != nil {
		return err
	}
	if k.JSON {
		err = printJSON(stdout, res)
	} else {
		_, err = fmt.Fprintln(stdout, closedText(res.Closed))
	}
	return errors.Join(err, warned(res.Warning))
}

// warned is the failure of a command that has done its work on this machine, and not on the others.
func warned(warning string) error {
	if warning == "" {
		return nil
	}
	return errors.New("warning: " + warning)
}

// closedText is a number of connections that were closed.
func closedText(n int) string {
	return "closed " + human.Count(max(n, 0), "connection") + " on this machine"
}

// misuse makes an error one of wrong use if the server says that it is.
func misuse(err error) error {
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == control.CodeBadRequest {
		return usageError{err}
	}
	return err
}
