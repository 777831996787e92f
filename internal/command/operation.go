package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// operationFlags are the flags that reload, scale and rebalance share.
type operationFlags struct {
	Control string        `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	Watch   bool          `help:"Show the progress."`
	JSON    bool          `help:"Print the result or error as JSON." name:"json"`
	Timeout time.Duration `help:"Time to wait for the end; the server continues after it." default:"10m"`
}

// progressFunc receives the progress of an operation.
type progressFunc = func(control.Progress)

// result is the outcome of an operation.
type result = control.Result

// operationFunc requests an operation.
type operationFunc func(context.Context, *control.Client, progressFunc) (result, error)

// run requests an operation, prints its progress and result, and fails if not all connections moved.
func (f *operationFlags) run(c *Console, done string, ask operationFunc) error {
	if f.Timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v: want more than 0s", f.Timeout)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	res, err := f.request(ctx, c, ask)
	if errPrint := f.print(ctx, c, done, res, err); errPrint != nil {
		return errors.Join(err, errPrint)
	}
	if err != nil {
		return misuse(err)
	}
	return view.Failed(res)
}

// request requests an operation and shows its progress.
func (f *operationFlags) request(ctx context.Context, c *Console, ask operationFunc) (result, error) {
	client, err := control.Dial(ctx, controlPath(f.Control))
	if err != nil {
		return result{}, err
	}
	defer client.Close()
	if !f.Watch {
		return ask(ctx, client, nil)
	}
	w := c.Out
	if f.JSON { // stdout has only JSON
		w = c.Err
	}
	watch := view.NewProgress(w)
	defer watch.End()
	return ask(ctx, client, watch.Show)
}

// print writes the result. An operation that failed has a result only if the workers were replaced nevertheless.
func (f *operationFlags) print(ctx context.Context, c *Console, done string, r result, err error) error {
	none := err != nil && reflect.ValueOf(r).IsZero()
	if !f.JSON {
		if none {
			return nil
		}
		return view.Result(c.Out, done, r)
	}
	if err == nil {
		return PrintJSON(c.Out, r)
	}
	told := control.Error{Code: control.CodeUnavailable, Message: err.Error()}
	if e, ok := errors.AsType[*control.Error](err); ok {
		told = *e
	} else if ctx.Err() != nil {
		told.Code = control.CodeInterrupted
	}
	told.Message = c.program.named(told.Message)
	out := struct {
		Error  *control.Error `json:"error"`
		Result *result        `json:"result,omitempty"`
	}{Error: &told}
	if !none {
		out.Result = &r
	}
	return PrintJSON(c.Out, out)
}
