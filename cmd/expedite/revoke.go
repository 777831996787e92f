package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// revokeCmd is `expedite revoke`.
type revokeCmd struct {
	Control string        `help:"Unix socket of the running server." placeholder:"PATH"`
	User    string        `help:"This user, with any token." xor:"who" required:"" placeholder:"USER" env:"-"`
	Session string        `help:"This session." xor:"who" required:"" placeholder:"ID" env:"-"`
	TokenID string        `help:"The token with this id (jti)." xor:"who" required:"" placeholder:"ID" env:"-"`
	For     time.Duration `help:"How long to keep the client out. Default: 24h." placeholder:"24h" env:"-"`
	JSON    bool          `help:"Print JSON." name:"json"`
}

// Help is shown by `expedite revoke --help`.
func (revokeCmd) Help() string {
	return `The connections are closed, in all workers and on all machines, and whoever comes with the same is refused, a
user with tokens made later, too. Let it last as long as the tokens would be good. It cannot be taken back before.
With exit code 1 and a warning it holds on this machine, and other machines do not know, or do not know at once.

Examples:
  expedite revoke --user alice --for 24h
  expedite revoke --token-id 7f9c24e8`
}

// Run asks and prints.
func (r *revokeCmd) Run(c *console) error {
	if r.For < 0 || r.For > control.MaxDenial || (r.For > 0 && r.For < time.Second) {
		return usageError{fmt.Errorf("--for %v: want 1s to %v", r.For, control.MaxDenial)}
	}
	req := control.RevokeRequest{
		User: r.User, Session: r.Session, TokenID: r.TokenID,
		Seconds: int64((r.For + time.Second - 1) / time.Second), // rather too long than too short
	}
	res, err := operate(r.Control, func(ctx context.Context, to *control.Client) (control.RevokeResult, error) {
		return to.Revoke(ctx, req)
	})
	if err != nil {
		return err
	}
	if r.JSON {
		err = printJSON(c.out, res)
	} else {
		_, err = fmt.Fprintf(c.out, "%s; kept out until %s\n", closedText(res.Closed), res.Until.Local().Format(time.RFC3339))
	}
	return errors.Join(err, warned(res.Warning))
}
