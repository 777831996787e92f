package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/unixsocket"
)

const (
	maxReply  = 16 << 20        // bytes; see TestLargestStatus
	exitGrace = 5 * time.Second // between the end of the socket and that of the process

	oldPatience    = 10 * time.Second // with a primary that should have been replaced and still answers
	silentPatience = 30 * time.Second // with a new primary that has not answered yet
)

// Client sends requests to a running server. Create one with [Dial], and close it. Errors of the server wrap an
// [*Error]. Its methods are safe for concurrent use.
type Client struct {
	path string
	http http.Client
	// first is the connection that Dial made, until the first request takes it.
	first    atomic.Pointer[net.UnixConn]
	pid      int // of the server; 0: unknown
	patience patience
}

// Dial connects to the server that listens at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{path: path, patience: patience{oldPatience, silentPatience}}
	conn, err := c.connect(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf(
				"control: no Expedite is running at %s: start one with `expedite serve` or name its socket with --control", path)
		}
		return nil, fmt.Errorf("control: socket %s: %w", path, cause(err))
	}
	if p, err := unixsocket.PeerOf(conn); err == nil {
		c.pid = p.PID
	}
	c.first.Store(conn)
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if conn := c.first.Swap(nil); conn != nil {
				return conn, nil
			}
			return c.connect(ctx)
		},
	}
	return c, nil
}

// Close closes idle connections. It does not interrupt a request under way.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	if conn := c.first.Swap(nil); conn != nil {
		return conn.Close()
	}
	return nil
}

// Status returns the state of the server.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/status", nil)
}

// Stop tells the server to stop and waits until it is gone: until it has closed its socket and, where the system
// reports that, until its process has ended. Stop does not wait more than some seconds for a process that has closed
// its socket. If ctx ends first, the server still stops, and Stop returns an error.
func (c *Client) Stop(ctx context.Context, req StopRequest) error {
	exit := watchExit(c.pid)
	defer exit.close()
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	resp, err := c.call(ctx, http.MethodPost, "/stop", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// The answer ends when the server does. If it ends because the server crashed, that is fine, too.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && ctx.Err() != nil {
		return fmt.Errorf("control: the server at %s is stopping, and has not finished yet: %w", c.path, ctx.Err())
	}
	grace, cancel := context.WithTimeout(ctx, exitGrace)
	defer cancel()
	exit.wait(grace)
	return nil
}

// Sessions lists sessions. It reads as many pages as the limit of the request needs.
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
		all.Missing = slices.Compact(slices.Sorted(slices.Values(append(all.Missing, page.Missing...))))
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

// Revoke closes connections and refuses their clients for some time.
func (c *Client) Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error) {
	return ask[RevokeResult](ctx, c, http.MethodPost, "/revoke", req)
}

// Publish sends a text message to all subscribers of a topic.
func (c *Client) Publish(ctx context.Context, req PublishRequest) error {
	if err := req.check(); err != nil { // JSON would replace text that is not UTF-8
		return fmt.Errorf("control: %w", err)
	}
	_, err := ask[empty](ctx, c, http.MethodPost, "/publish", req)
	return err
}

// ReopenLogs makes all processes of the server continue in new log files.
func (c *Client) ReopenLogs(ctx context.Context) error {
	_, err := ask[empty](ctx, c, http.MethodPost, "/reopen-logs", empty{})
	return err
}

// ask sends a request and decodes the answer.
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
		return res, fmt.Errorf("control: the answer of the server at %s is invalid: %w", c.path, err)
	}
	return res, nil
}

func (c *Client) connect(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// call sends a request and returns the answer, whose body the caller closes. A refusal is an error.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://expedite"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("control: the server at %s does not answer: %w", c.path, cause(err))
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var f line
	err = json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&f)
	if err != nil || f.Error == nil || f.Error.Message == "" {
		return nil, fmt.Errorf("control: the server at %s answers %s", c.path, resp.Status)
	}
	return nil, c.refusal(f.Error)
}

// refusal returns an error of the server.
func (c *Client) refusal(err *Error) error {
	return fmt.Errorf("control: the server at %s says: %w", c.path, err)
}

// cause returns the reason of an error of packages http and net, without the path that our errors contain, too.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
