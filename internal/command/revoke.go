package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// revokeCmd implements `expedite revoke`.
type revokeCmd struct {
	Control string        `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	User    string        `help:"Revoke this user, with any token." xor:"who" required:"" placeholder:"USER" env:"-"`
	Session string        `help:"Revoke this session." xor:"who" required:"" placeholder:"ID" env:"-"`
	TokenID string        `help:"Revoke the token with this id (jti)." xor:"who" required:"" placeholder:"ID" env:"-"`
	For     time.Duration `help:"Duration. Default: 24h." placeholder:"24h" env:"-"`
	JSON    bool          `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite revoke --help`.
func (revokeCmd) Help() string {
	return `Closes connections in all workers and on all machines, and refuses further ones: those of a user even with
tokens that are issued later. Choose a duration as long as the lifetime of the tokens: a revocation cannot be withdrawn.
With exit code 1 and a warning, it is in force on this machine, but other machines do not know it, or not yet.

Examples:
  expedite revoke --user alice --for 24h
  expedite revoke --token-id 7f9c24e8`
}

// Run revokes, and prints how many connections were closed.
func (r *revokeCmd) Run(c *Console) error {
	if r.For < 0 || r.For > control.MaxDenial || (r.For > 0 && r.For < time.Second) {
		return usageError{fmt.Errorf("--for %v: want 1s to %v", r.For, control.MaxDenial)}
	}
	req := control.RevokeRequest{
		User: r.User, Session: r.Session, TokenID: r.TokenID,
		Seconds: int64((r.For + time.Second - 1) / time.Second), // round up
	}
	res, err := request(r.Control, func(ctx context.Context, to *control.Client) (control.RevokeResult, error) {
		return to.Revoke(ctx, req)
	})
	if err != nil {
		return err
	}
	if r.JSON {
		err = PrintJSON(c.Out, res)
	} else {
		_, err = fmt.Fprintf(c.Out, "%s; refused until %s\n", closedText(res.Closed), res.Until.Local().Format(time.RFC3339))
	}
	return errors.Join(err, warned(res.Warning))
}
