package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// maxCanary is the longest proof that a server accepts.
const maxCanary = time.Hour

// console is where a command that also watches writes to.
type console struct{ out, err io.Writer }

// reloadCmd is `expedite reload`.
type reloadCmd struct {
	Canary      time.Duration `help:"How long the first new worker serves before the others follow." default:"1s"`
	KeepPrimary bool          `help:"Do not replace the primary; settings stay as they are."`
	rollFlags
}

// Help is shown by `expedite reload --help`.
func (reloadCmd) Help() string {
	return `Each worker is replaced by one of the binary as it is now on disk, and its connections move over.
Then the primary replaces itself. The code is 0 only if all connections moved.

Examples:
  expedite reload --watch
  expedite reload --canary 30s
  expedite reload --json | jq .moved`
}

// Run asks and waits for the end.
func (r *reloadCmd) Run(c *console) error {
	if r.Canary < 0 || r.Canary > maxCanary {
		return usageError{fmt.Errorf("--canary %v: want 0s to %v", r.Canary, maxCanary)}
	}
	req := control.ReloadRequest{CanarySeconds: r.Canary.Seconds(), KeepPrimary: r.KeepPrimary}
	return r.run(c, "reloaded", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Reload(ctx, req, on)
	})
}

// rollFlags is what reload, scale and rebalance have in common.
type rollFlags struct {
	Control string        `help:"Unix socket of the running server." placeholder:"PATH"`
	Watch   bool          `help:"Show how it goes on."`
	JSON    bool          `help:"Print the result, or the error, as JSON." name:"json"`
	Timeout time.Duration `help:"How long to wait; the server goes on after it." default:"10m" placeholder:"10m"`
}

// progressFunc hears how an operation goes on.
type progressFunc = func(control.Progress)

// result is what an operation did.
type result = control.Result

// rollFunc asks for one of the operations.
type rollFunc func(context.Context, *control.Client, progressFunc) (result, error)

// run asks and prints how it goes on and what came of it. It is an error, too, if not all connections moved.
func (f *rollFlags) run(c *console, done string, ask rollFunc) error {
	if f.Timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v: want more than 0s", f.Timeout)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	res, err := f.follow(ctx, c, ask)
	if errPrint := f.print(ctx, c.out, done, res, err); errPrint != nil {
		return errors.Join(err, errPrint)
	}
	if err != nil {
		return misuse(err)
	}
	return view.Failed(res)
}

// follow asks and shows how it goes on.
func (f *rollFlags) follow(ctx context.Context, c *console, ask rollFunc) (result, error) {
	client, err := control.Dial(ctx, controlPath(f.Control))
	if err != nil {
		return result{}, err
	}
	defer client.Close()
	if !f.Watch {
		return ask(ctx, client, nil)
	}
	w := c.out
	if f.JSON { // which has that for itself
		w = c.err
	}
	watch := view.NewProgress(w)
	defer watch.End()
	return ask(ctx, client, watch.Show)
}

// print writes the result. With an error there is one only if the workers were replaced all the same.
func (f *rollFlags) print(ctx context.Context, w io.Writer, done string, r result, err error) error {
	none := err != nil && reflect.ValueOf(r).IsZero()
	if !f.JSON {
		if none {
			return nil
		}
		return view.Result(w, done, r)
	}
	if err == nil {
		return printJSON(w, r)
	}
	e, ok := errors.AsType[*control.Error](err)
	switch {
	case ok:
	case ctx.Err() != nil:
		e = &control.Error{Code: control.CodeInterrupted, Message: err.Error()}
	default:
		e = &control.Error{Code: control.CodeUnavailable, Message: err.Error()}
	}
	out := struct {
		Error  *control.Error `json:"error"`
		Result *result        `json:"result,omitempty"`
	}{Error: e}
	if !none {
		out.Result = &r
	}
	return printJSON(w, out)
}
