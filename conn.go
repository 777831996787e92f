package expedite

import (
	"errors"
	"net/netip"
	"net/url"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// Conn is a client's connection. It may be kept after the callback that brought it; what is sent to a connection that
// has ended is reported as Closed. Methods are safe for any goroutine unless they say otherwise.
type Conn struct {
	client access.Client
	end    *endpoint
	data   any
	state  *[]byte // Data as Handler.State has written it while the connection moves; else nil
}

// ID names the connection for App.Send and App.CloseConn, in every worker.
func (c *Conn) ID() ID { return ID(c.client.Conn.ID()) }

// Path is the path of the endpoint.
func (c *Conn) Path() string { return c.end.Path }

// Query is the query of the address that the client opened, but for its token and session. A part that cannot be parsed
// is left out.
func (c *Conn) Query() url.Values {
	v, _ := url.ParseQuery(c.client.Query)
	return v
}

// Remote is the client's address as the socket knows it.
func (c *Conn) Remote() netip.AddrPort { return c.client.Conn.Remote() }

// Data is the application's own record of this connection: what SetData left or, with Handler.State, a value that moves
// with the connection. In callbacks only.
func (c *Conn) Data() any { return c.data }

// SetData keeps the application's own record with the connection; with Handler.State, a pointer of that type. If the
// handler has none of State, Suspend and Resume, a connection that holds a record cannot move: when its worker is
// replaced, it is closed with 1012 instead. In callbacks only.
func (c *Conn) SetData(v any) {
	c.data = v
	if v != nil && !c.end.handler.carries() {
		c.end.warnStays()
	}
}

// Send sends a message. It never blocks; the message's bytes may be reused when it returns. A Conn that was kept in the
// worker which its connection has left still works: the message is sent to where the connection is now.
func (c *Conn) Send(m Message) SendResult {
	if m.kind == kindNoText {
		return Invalid
	}
	r := c.client.Conn.Send(m.opcode(), m.data)
	if r != engine.Moved {
		return SendResult(r)
	}
	if c.end.app.Send(c.ID(), m) != nil {
		return Dropped
	}
	return Sent
}

// Buffered is the number of bytes that wait for the client.
func (c *Conn) Buffered() int { return c.client.Conn.Buffered() }

// Subscribe adds the connection to a topic, on which it hears what is published in any worker. It fails with
// ErrTopic, ErrForbidden, ErrClosed, ErrMoved or ErrTooManySubscriptions. A second subscription to the same topic
// changes nothing.
func (c *Conn) Subscribe(topic string) error {
	if broker.CheckTopic(topic) != nil {
		return ErrTopic
	}
	if !c.permits(auth.ActionSubscribe, topic) {
		return ErrForbidden
	}
	_, err := c.client.Conn.Subscribe(topic)
	return publicError(err)
}

// Unsubscribe takes the connection out of a topic and reports whether it was in it.
func (c *Conn) Unsubscribe(topic string) bool {
	return broker.CheckTopic(topic) == nil && c.client.Conn.Unsubscribe(topic)
}

// Publish is App.Publish in the client's name: it fails with ErrForbidden if Auth.Permit does not permit it.
func (c *Conn) Publish(topic string, m Message) error {
	if !c.permits(auth.ActionPublish, topic) {
		return ErrForbidden
	}
	return c.end.app.Publish(topic, m)
}

// Close starts the closing handshake with a code that may be sent (1000 to 1003, 1007 to 1014, 3000 to 4999) and a
// reason of at most 123 bytes. Code 0 sends none. RFC 6455 §7.4.
func (c *Conn) Close(code ws.CloseCode, reason string) error {
	err := c.client.Conn.Close(code, reason)
	if errors.Is(err, engine.ErrMoved) {
		return c.end.app.CloseConn(c.ID(), code, reason)
	}
	return publicError(err)
}
