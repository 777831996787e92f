package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"syscall"
	"time"
)

const (
	pollFirst = 20 * time.Millisecond
	pollMost  = 200 * time.Millisecond
)

// patience is how long a client waits for the primary that replaces another.
type patience struct {
	old    time.Duration // while the old one still answers, or nobody listens
	silent time.Duration // while there is no answer
}

// Reload replaces the workers and the primary, and returns when that is done: the server goes on with it if ctx ends
// before. A nil onProgress hears nothing; any other is called from this goroutine. Errors that the server gives wrap a
// [*Error]. With an error after the workers were replaced the result tells what was done.
func (c *Client) Reload(ctx context.Context, req ReloadRequest, onProgress func(Progress)) (Result, error) {
	return c.roll(ctx, "/reload", req, onProgress)
}

// Scale sets the number of workers. For the rest see [Client.Reload].
func (c *Client) Scale(ctx context.Context, req ScaleRequest, onProgress func(Progress)) (Result, error) {
	return c.roll(ctx, "/scale", req, onProgress)
}

// Rebalance evens out the connections of the workers. For the rest see [Client.Reload].
func (c *Client) Rebalance(ctx context.Context, onProgress func(Progress)) (Result, error) {
	return c.roll(ctx, "/rebalance", struct{}{}, onProgress)
}

// roll asks for an operation and follows it to its end.
func (c *Client) roll(ctx context.Context, path string, req any, onProgress func(Progress)) (Result, error) {
	if onProgress == nil {
		onProgress = func(Progress) {}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return Result{}, fmt.Errorf("control: %w", err)
	}
	resp, err := c.call(ctx, http.MethodPost, path, body)
	if err != nil {
		return Result{}, c.broken(ctx, path, err)
	}
	defer resp.Body.Close()
	last, err := readLines(resp.Body, onProgress)
	var result Result
	if last.Replacing != nil {
		result = last.Replacing.Result
	}
	switch {
	case last.Result != nil:
		return *last.Result, nil
	case last.Error != nil:
		return result, c.said(last.Error)
	case ctx.Err() != nil || last.Replacing == nil:
		return result, c.broken(ctx, path, err)
	}
	return c.awaitPrimary(ctx, *last.Replacing)
}

// readLines reads up to the line that says how it ended, or to the end. The error is why there was no such line; what
// was announced before stays.
func readLines(r io.Reader, onProgress func(Progress)) (line, error) {
	var last line
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return last, errors.Join(io.ErrUnexpectedEOF, lines.Err())
		}
		if l.Progress != nil {
			onProgress(*l.Progress)
		}
		if l.Replacing != nil {
			last.Replacing = l.Replacing
		}
		if l.Result != nil || l.Error != nil {
			last.Result, last.Error = l.Result, l.Error
			return last, nil
		}
	}
	if err := lines.Err(); err != nil {
		return last, err
	}
	return last, io.ErrUnexpectedEOF
}

// broken is the error for an operation whose end nobody has seen, or of which err tells.
func (c *Client) broken(ctx context.Context, path string, err error) error {
	_, told := errors.AsType[*Error](err)
	switch {
	case told:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("control: the %s of the server at %s goes on, watch it with `expedite status`: %w",
			path[1:], c.path, context.Cause(ctx))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("control: the server at %s ended in the middle of the %s: look at `expedite status`",
			c.path, path[1:])
	default:
		return err
	}
}

// awaitPrimary waits until the next generation of the primary answers. All connections of the last one are gone.
func (c *Client) awaitPrimary(ctx context.Context, was replacing) (Result, error) {
	c.http.CloseIdleConnections()
	result := was.Result
	var old time.Time // when the old primary answered first, or nobody listened
	silent := time.Now().Add(c.patience.silent)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := pollFirst; ; pause = min(pause*2, pollMost) {
		select {
		case <-ctx.Done():
			return result, fmt.Errorf("control: the workers are replaced, and the primary at %s has not answered since: %w",
				c.path, context.Cause(ctx))
		case <-timer.C:
		}
		st, err := c.ask(ctx, silent)
		if err == nil && st.Generation > was.Generation {
			result.PrimaryReplaced = true
			if st.Version != "" {
				result.Version = st.Version
			}
			return result, nil
		}
		// An end without an answer is no sign: such a connection was one of the old primary's.
		if old.IsZero() && (err == nil || refused(err) || errors.Is(err, fs.ErrNotExist)) {
			old = time.Now()
		}
		if (!old.IsZero() && time.Since(old) >= c.patience.old) || !time.Now().Before(silent) {
			return result, c.notReplaced(was, err)
		}
		timer.Reset(pause)
	}
}

// ask is Status until a point in time.
func (c *Client) ask(ctx context.Context, until time.Time) (Status, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return c.Status(ctx)
}

// notReplaced is the error for a primary that should have been replaced and answers as before, or with err.
func (c *Client) notReplaced(was replacing, err error) error {
	if err != nil {
		return fmt.Errorf("control: the workers are replaced, and no new primary answers: %w", err)
	}
	return fmt.Errorf("control: the workers are replaced, and the primary at %s is still generation %d: look at its log",
		c.path, was.Generation)
}
