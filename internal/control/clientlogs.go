package control

import (
	"bufio"
	"bytes"
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
	maxReadLine = 1 << 20 // bytes of a log line
	maxRedials  = 40      // attempts to continue after the primary has replaced itself
)

// Logs calls onLine with each log line, a JSON object without a newline, which is valid until onLine returns. Some of
// the lines may be [LostLines]. Without Follow, Logs returns after the recent lines. With Follow it continues until ctx
// or the server ends, with an error. If onLine returns an error, Logs returns that error. If the primary replaces
// itself, Logs continues with the new one; lines that are logged in between are missing.
func (c *Client) Logs(ctx context.Context, req LogsRequest, onLine func(line []byte) error) error {
	var enough error // of onLine: it may look like one of the connection
	tell := func(line []byte) error {
		enough = onLine(line)
		return enough
	}
	for redials := 0; ; redials++ {
		some, err := c.readLogs(ctx, req, tell)
		if some {
			redials = 0
		}
		switch {
		case enough != nil:
			return enough
		case ctx.Err() != nil:
			return fmt.Errorf("control: reading the log at %s: %w", c.path, context.Cause(ctx))
		case !req.Follow || !isCut(err):
			if redials > 0 && (unixsocket.Refused(err) || errors.Is(err, fs.ErrNotExist)) {
				return c.logsEnded()
			}
			return err
		case redials >= maxRedials:
			return c.logsEnded()
		}
		req.Recent = false // onLine has had them
		c.pause(ctx, redials)
	}
}

// logsEnded returns the error for a server that ended while its log was read.
func (c *Client) logsEnded() error {
	return fmt.Errorf("control: the server at %s has ended: there are no more log lines", c.path)
}

// readLogs reads one stream of lines, and reports whether there were any. If the connection broke, isCut reports true
// for the error.
func (c *Client) readLogs(ctx context.Context, req LogsRequest, onLine func([]byte) error) (some bool, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return false, fmt.Errorf("control: %w", err)
	}
	resp, err := c.call(ctx, http.MethodPost, "/logs", body)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxReadLine)
	for ; lines.Scan(); some = true {
		text := lines.Bytes()
		if bytes.HasPrefix(text, []byte(`{"error":{`)) { // a log line begins with its time or level
			var l line
			if err := json.Unmarshal(text, &l); err == nil && l.Error != nil && l.Error.Code != "" {
				return true, c.refusal(l.Error)
			}
		}
		if err := onLine(text); err != nil {
			return true, err
		}
	}
	switch err := lines.Err(); {
	case err != nil:
		return some, fmt.Errorf("control: reading the log at %s: %w", c.path, err)
	case req.Follow: // the server has closed
		return some, c.logsEnded()
	}
	return some, nil
}

// isCut reports whether an error is that of a connection that broke in the middle of an answer.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pause waits before the next attempt, or until ctx ends. It does not wait before the first one.
func (c *Client) pause(ctx context.Context, attempts int) {
	c.http.CloseIdleConnections()
	timer := time.NewTimer(min(pollFirst*time.Duration(attempts), pollMost))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
