package command

import (
	"context"
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// requestTimeout is longer than a server takes for a request.
const requestTimeout = 35 * time.Second

// request sends a request to the server at a control socket. If the server refuses it as invalid, the error is one of
// usage.
func request[R any](socket string, ask func(context.Context, *control.Client) (R, error)) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
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

// misuse turns an error into one of usage if the server refused the request as invalid.
func misuse(err error) error {
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == control.CodeBadRequest {
		return usageError{err}
	}
	return err
}

// warned returns the error of a command that is done on this machine, but not on all others.
func warned(warning string) error {
	if warning == "" {
		return nil
	}
	return errors.New("warning: " + warning)
}

// controlPath returns the socket that a --control flag names.
func controlPath(s string) string {
	switch s {
	case "":
		return control.DefaultPath()
	case "off":
		return ""
	default:
		return s
	}
}
