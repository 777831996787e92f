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
	"sync/atomic"
	"time"
)

const (
	maxReply  = 16 << 20        // bytes; see TestLargestStatus
	exitGrace = 5 * time.Second // from the socket's end to the process's

	oldPatience    = 10 * time.Second // for a primary that should have been replaced, and still answers
	silentPatience = 30 * time.Second // for a new primary that has not answered yet
)

// Client asks a running server. Make one with [Dial], and close it.
type Client struct {
	path string
	http http.Client
	// first is the connection that Dial made, until the first request takes it.
	first atomic.Pointer[net.UnixConn]
	// pid is the server's, 0 if unknown.
	pid int
	// patience is for primaries that replace others.
	patience patience
}

// Dial connects to the server that listens at path. If there is none, the error says so and what to do.
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
	if p, err := peerOf(conn); err == nil {
		c.pid = p.pid
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

// Close lets the connection go. A call that is under way goes on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	if conn := c.first.Swap(nil); conn != nil {
		return conn.Close()
	}
	return nil
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (Status, error) {
	resp, err := c.call(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return Status{}, err
	}
	defer resp.Body.Close()
	var st Status
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&st); err != nil {
		return Status{}, fmt.Errorf("control: the answer of %s is no status: %w", c.path, err)
	}
	return st, nil
}

// Stop asks the server to stop and waits until it is gone: until it has closed its socket and, where the system tells,
// its process has ended too. A process that lives on for more than some seconds without its server is let be. When ctx
// ends first the server still stops, and the error says that it had not.
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
	// The body's end is the server's. That of a crash is no different: gone is gone.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && ctx.Err() != nil {
		return fmt.Errorf("control: the server at %s is told to stop and has not yet: %w", c.path, ctx.Err())
	}
	grace, cancel := context.WithTimeout(ctx, exitGrace)
	defer cancel()
	exit.wait(grace)
	return nil
}

func (c *Client) connect(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// call makes a request and turns a refusal into an error. The caller closes the body.
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
	return nil, c.said(f.Error)
}

// said is an error that the server gave.
func (c *Client) said(err *Error) error {
	return fmt.Errorf("control: the server at %s says: %w", c.path, err)
}
