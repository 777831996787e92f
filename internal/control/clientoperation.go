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

	"github.com/expedite-go/expedite/internal/unixsocket"
)

const (
	pollFirst = 20 * time.Millisecond // doubles with each attempt
	pollMost  = 200 * time.Millisecond
)

// patience is how long a client waits for a primary that replaces another one.
type patience struct {
	old    time.Duration // after the old one has answered, or no process was listening
	silent time.Duration // without any answer
}

// Reload replaces the workers and the primary, and returns when that is done. If ctx ends before, the server continues.
// Reload calls onProgress, unless it is nil, on this goroutine. If Reload fails after the workers were replaced, the
// result says what was done.
func (c *Client) Reload(ctx context.Context, req ReloadRequest, onProgress func(Progress)) (Result, error) {
	return c.operation(ctx, "/reload", req, onProgress)
}

// Scale sets the number of workers. Context, progress and errors are as for [Client.Reload].
func (c *Client) Scale(ctx context.Context, req ScaleRequest, onProgress func(Progress)) (Result, error) {
	return c.operation(ctx, "/scale", req, onProgress)
}

// Rebalance distributes the connections evenly over the workers. Context, progress and errors are as for
// [Client.Reload].
func (c *Client) Rebalance(ctx context.Context, onProgress func(Progress)) (Result, error) {
	return c.operation(ctx, "/rebalance", empty{}, onProgress)
}

// operation requests an operation and reads its progress to the end.
func (c *Client) operation(ctx context.Context, path string, req any, onProgress func(Progress)) (Result, error) {
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
		return result, c.refusal(last.Error)
	case ctx.Err() != nil || last.Replacing == nil:
		return result, c.broken(ctx, path, err)
	}
	return c.awaitPrimary(ctx, *last.Replacing)
}

// readLines reads up to the line with the result or the error. If there is no such line, it returns an error, and what
// was announced before.
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

// broken returns the error for an operation that failed with err, or whose outcome the client does not know because of
// err.
func (c *Client) broken(ctx context.Context, path string, err error) error {
	_, refused := errors.AsType[*Error](err)
	switch {
	case refused:
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

// awaitPrimary waits until the next generation of the primary answers.
func (c *Client) awaitPrimary(ctx context.Context, was replacing) (Result, error) {
	c.http.CloseIdleConnections() // they are those of the old primary
	result := was.Result
	var old time.Time // when the old primary answered for the first time, or no process was listening
	silent := time.Now().Add(c.patience.silent)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := pollFirst; ; pause = min(pause*2, pollMost) {
		select {
		case <-ctx.Done():
			return result, fmt.Errorf("control: the workers are replaced, but the new primary at %s has not answered yet: %w",
				c.path, context.Cause(ctx))
		case <-timer.C:
		}
		st, err := c.statusUntil(ctx, silent)
		if err == nil && st.Generation > was.Generation {
			result.PrimaryReplaced = true
			if st.Version != "" {
				result.Version = st.Version
			}
			return result, nil
		}
		// A connection that ends without an answer means nothing: it was one of the old primary's.
		if old.IsZero() && (err == nil || unixsocket.Refused(err) || errors.Is(err, fs.ErrNotExist)) {
			old = time.Now()
		}
		if (!old.IsZero() && time.Since(old) >= c.patience.old) || !time.Now().Before(silent) {
			return result, c.notReplaced(was, err)
		}
		timer.Reset(pause)
	}
}

func (c *Client) statusUntil(ctx context.Context, deadline time.Time) (Status, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return c.Status(ctx)
}

// notReplaced returns the error for a primary that should have been replaced. err is that of the last attempt to reach
// the new one.
func (c *Client) notReplaced(was replacing, err error) error {
	if err != nil {
		return fmt.Errorf("control: the workers are replaced, but no new primary answers: %w", err)
	}
	return fmt.Errorf("control: the workers are replaced, but the primary at %s is still generation %d: look at its log",
		c.path, was.Generation)
}
