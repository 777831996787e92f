package expeditetest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/ws"
)

// Client is a WebSocket to a Server. Its methods fail the test if something goes wrong, so they are called on the
// goroutine of the test.
type Client struct {
	t    testing.TB
	conn *websocket.Conn
	path string
}

// Send sends a message: a string is sent as text, a []byte as binary, and any other value as text with its JSON
// encoding.
func (c *Client) Send(v any) {
	c.t.Helper()
	var err error
	kind, b := websocket.MessageText, []byte(nil)
	switch v := v.(type) {
	case string:
		b = []byte(v)
	case []byte:
		kind, b = websocket.MessageBinary, v
	default:
		b, err = json.Marshal(v)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err = c.conn.Write(ctx, kind, b)
	}
	if err != nil {
		c.t.Fatalf("expeditetest: %s: the client cannot send: %v", c.path, err)
	}
}

// Receive returns the next message, which must be text.
func (c *Client) Receive() string {
	c.t.Helper()
	return string(c.receive(websocket.MessageText))
}

// ReceiveBinary returns the next message, which must be binary.
func (c *Client) ReceiveBinary() []byte {
	c.t.Helper()
	return c.receive(websocket.MessageBinary)
}

// ReceiveJSON decodes the next message, which must be text and one JSON value, into v, which must be a pointer: see
// json.Unmarshal.
func (c *Client) ReceiveJSON(v any) {
	c.t.Helper()
	b := c.receive(websocket.MessageText)
	if err := json.Unmarshal(b, v); err != nil {
		c.t.Fatalf("expeditetest: %s: the client received %.200q: %v", c.path, b, err)
	}
}

func (c *Client) receive(want websocket.MessageType) []byte {
	c.t.Helper()
	kind, b, err := c.read()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		c.t.Fatalf("expeditetest: %s: the client received nothing for %v", c.path, patience)
	case err != nil:
		c.t.Fatalf("expeditetest: %s: the client received no message: %v", c.path, err)
	case kind != want:
		c.t.Fatalf("expeditetest: %s: got a message of type %v, want %v: %.200q", c.path, kind, want, b)
	}
	return b
}

func (c *Client) read() (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.conn.Read(ctx)
}

// Closed waits until the server has closed the connection, and returns its close code and reason. Messages that come
// before are ignored. The code is ws.CloseAbnormal if the connection ended without a close frame, and ws.CloseNoStatus
// if the frame had no code.
func (c *Client) Closed() (ws.CloseCode, string) {
	c.t.Helper()
	for {
		_, _, err := c.read()
		if errors.Is(err, context.DeadlineExceeded) {
			c.t.Fatalf("expeditetest: %s: the server does not close the connection", c.path)
		}
		if frame, ok := errors.AsType[websocket.CloseError](err); ok {
			return ws.CloseCode(frame.Code), frame.Reason
		}
		if err != nil {
			return ws.CloseAbnormal, ""
		}
	}
}

// Close closes the connection with 1000 (normal closure), and waits for the server's answer.
func (c *Client) Close() {
	c.t.Helper()
	if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		c.t.Fatalf("expeditetest: %s: %v", c.path, err)
	}
}
