package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// drainCmd implements `expedite drain`.
type drainCmd struct {
	Control string        `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	Over    time.Duration `help:"Time in which the connections are closed, evenly." default:"1m"`
	Settle  time.Duration `help:"Time before that, for load balancers to notice." default:"5s"`
	Notice  string        `help:"Text message to each client before the first one is closed." placeholder:"TEXT"`
	Undo    bool          `help:"End a drain: the server takes clients again."`
	Timeout time.Duration `help:"Time to wait beyond --settle and --over." default:"1m"`
}

// Help returns the text of `expedite drain --help`.
func (drainCmd) Help() string {
	return `First /readyz answers 503. After --settle, new clients are refused with 503, and those connected are closed
with 1012, spread over --over. Then the server stays up without clients, until it is stopped or the drain is undone. A
drain during a drain changes its times. Status shows how far it is.

Examples:
  expedite drain --over 2m
  expedite drain --over 10m --notice '{"type":"moving"}'
  expedite drain --undo`
}

const (
	// drainPoll is the time between two looks, and drainShow between two lines about the same phase.
	drainPoll, drainShow = 500 * time.Millisecond, 10 * time.Second
	// drainSilence is how long the server may not answer: a reload may replace its primary meanwhile.
	drainSilence = 15 * time.Second
)

var errUndone = errors.New("the drain was undone")

// Run drains the server and waits until no connection is left.
func (d *drainCmd) Run(c *Console) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, d.Settle+d.Over+d.Timeout)
	defer cancel()
	client, err := control.Dial(ctx, controlPath(d.Control))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Drain(ctx, control.DrainRequest{
		SettleSeconds: d.Settle.Seconds(), OverSeconds: d.Over.Seconds(), Notice: d.Notice, Undo: d.Undo,
	}); err != nil {
		return misuse(err)
	}
	if d.Undo {
		_, err := fmt.Fprintln(c.Out, "undone: the server takes clients")
		return err
	}
	return d.watch(ctx, c, client)
}

// watch shows the progress until no connection is left.
func (d *drainCmd) watch(ctx context.Context, c *Console, client *control.Client) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	phase, shown, answered := "", time.Time{}, time.Now()
	for {
		st, err := client.Status(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the drain goes on, watch it with `expedite status`: %w", context.Cause(ctx))
		case err != nil && now.Sub(answered) > drainSilence:
			return fmt.Errorf("the server does not answer any more: %w", err)
		case err != nil:
		case st.Draining == nil:
			return errUndone
		default:
			answered = now
			if st.Draining.Phase != phase || now.Sub(shown) >= drainShow {
				phase, shown = st.Draining.Phase, now
				if _, err := fmt.Fprintln(c.Out, view.Drain(*st.Draining)); err != nil {
					return err
				}
			}
			if phase == control.DrainDone {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
