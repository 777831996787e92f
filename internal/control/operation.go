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
)

const (
	maxReadLine = 1 << 20 // bytes of a log line that a client takes
	maxRedials  = 40      // attempts to go on after the primary has replaced itself
)

// Sessions lists sessions, page by page.
func (c *Client) Sessions(ctx context.Context, req SessionsRequest) (SessionList, error) {
	if req.Limit == 0 {
		req.Limit = DefaultSessions
	}
	all, err := c.sessionPage(ctx, req)
	for err == nil && all.Next != "" && len(all.Sessions) < req.Limit {
		var page SessionList
		page, err = c.sessionPage(ctx, SessionsRequest{
			User: req.User, Limit: req.Limit - len(all.Sessions), After: all.Next,
		})
		all.Sessions = append(all.Sessions, page.Sessions...)
		all.Degraded, all.More, all.Next = all.Degraded || page.Degraded, page.More, page.Next
	}
	return all, err
}

func (c *Client) sessionPage(ctx context.Context, req SessionsRequest) (SessionList, error) {
	path := "/sessions"
	if q := req.query(); q != "" {
		path += "?" + q
	}
	return ask[SessionList](ctx, c, http.MethodGet, path, nil)
}

// Kick closes connections.
func (c *Client) Kick(ctx context.Context, req KickRequest) (KickResult, error) {
	return ask[KickResult](ctx, c, http.MethodPost, "/kick", req)
}

// Revoke closes connections and keeps their clients out.
func (c *Client) Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error) {
	return ask[RevokeResult](ctx, c, http.MethodPost, "/revoke", req)
}

// Publish sends a text message to all subscribers of a topic.
func (c *Client) Publish(ctx context.Context, req PublishRequest) error {
	if err := req.check(); err != nil { // text that is no UTF-8 would become other text in JSON
		return fmt.Errorf("control: %w", err)
	}
	_, err := ask[struct{}](ctx, c, http.MethodPost, "/publish", req)
	return err
}

// ReopenLogs makes the server go on in new log files.
func (c *Client) ReopenLogs(ctx context.Context) error {
	_, err := ask[struct{}](ctx, c, http.MethodPost, "/reopen-logs", struct{}{})
	return err
}

// ask sends a request and reads its answer. Errors that the server gives wrap a RollError.
func ask[Res any](ctx context.Context, c *Client, method, path string, req any) (Res, error) {
	var res Res
	var body []byte
	if req != nil {
		var err error
		if body, err = json.Marshal(req); err != nil {
			return res, fmt.Errorf("control: %w", err)
		}
	}
	resp, err := c.call(ctx, method, path, body)
	if err != nil {
		return res, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&res); err != nil {
		return res, fmt.Errorf("control: the answer of %s makes no sense: %w", c.path, err)
	}
	return res, nil
}

// Logs calls onLine with each log line, a JSON object without a newline, which is valid until it returns; lines of
// [LostLines] may be among them. Without Follow it returns when the recent lines are told, else when the context or the
// server ends, with an error, or when onLine returns one, with that one. A primary that replaces itself is followed
// to its next generation: what is logged in between is missing. Errors that the server gives wrap a [*Error].
func (c *Client) Logs(ctx context.Context, req LogsRequest, onLine func(line []byte) error) error {
	var told error // of onLine, which may be of any kind
	tell := func(line []byte) error {
		told = onLine(line)
		return told
	}
	for redials := 0; ; redials++ {
		heard, err := c.readLogs(ctx, req, tell)
		if heard {
			redials = 0
		}
		switch {
		case told != nil:
			return told
		case ctx.Err() != nil:
			return fmt.Errorf("control: reading the log at %s: %w", c.path, context.Cause(ctx))
		case !req.Follow || !isCut(err):
			if redials > 0 && (refused(err) || errors.Is(err, fs.ErrNotExist)) {
				return c.logsEnded()
			}
			return err
		case redials >= maxRedials:
			return c.logsEnded()
		}
		req.Recent = false // they were told
		c.pause(ctx, redials)
	}
}

// logsEnded says that the server ended while its log was read.
func (c *Client) logsEnded() error {
	return fmt.Errorf("control: the server at %s has ended: there are no more log lines", c.path)
}

// readLogs reads one stream of lines, and says whether there were any. The error of a stream that was cut is one of
// isCut.
func (c *Client) readLogs(ctx context.Context, req LogsRequest, onLine func([]byte) error) (heard bool, err error) {
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
	for ; lines.Scan(); heard = true {
		text := lines.Bytes()
		if bytes.HasPrefix(text, []byte(`{"error":{`)) { // a log line begins with its time or level
			var l line
			if err := json.Unmarshal(text, &l); err == nil && l.Error != nil && l.Error.Code != "" {
				return true, c.said(l.Error)
			}
		}
		if err := onLine(text); err != nil {
			return true, err
		}
	}
	switch err := lines.Err(); {
	case err != nil:
		return heard, fmt.Errorf("control: reading the log at %s: %w", c.path, err)
	case req.Follow: // the server closes
		return heard, c.logsEnded()
	}
	return heard, nil
}

// isCut says whether an error is that of a connection that ended in the middle.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pause waits before the next attempt, or until ctx ends. The first comes at once.
func (c *Client) pause(ctx context.Context, attempts int) {
	c.http.CloseIdleConnections()
	timer := time.NewTimer(min(pollFirst*time.Duration(attempts), pollMost))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
