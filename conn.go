package expedite

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws"
)

// Conn is the connection of a client. It may be kept after the callback that received it. Sending to a connection that
// has ended returns Closed. Methods are safe for concurrent use unless their documentation says otherwise.
type Conn struct {
	client access.Client
	end    *endpoint
	data   any
	state  *[]byte // Data as Handler.State has written it while the connection moves; else nil
}

// ID returns the id of the connection, for App.Send and App.CloseConn in any worker.
func (c *Conn) ID() ID { return ID(c.client.Conn.ID()) }

// Path returns the path of the endpoint, as it was passed to App.Handle: with wildcards it is a pattern.
func (c *Conn) Path() string { return c.end.Path }

// PathValue returns the value of a wildcard in the path of the endpoint, or an empty string if it has none of that
// name. Values are decoded, and come from the client: they may contain slashes (%2F) and any other byte. They move with
// the connection. In Authorize, use the PathValue of the request.
func (c *Conn) PathValue(name string) string { return c.client.PathValue(&c.end.Endpoint, name) }

// Subprotocol returns the subprotocol that was selected of Handler.Subprotocols, or an empty string.
func (c *Conn) Subprotocol() string { return c.client.Subprotocol() }

// Query returns the query of the URL that the client opened, without token and session. Parts that cannot be parsed are
// left out.
func (c *Conn) Query() url.Values {
	v, _ := url.ParseQuery(c.client.Query)
	return v
}

// Remote returns the address of the client. A client of a Unix socket has none: Remote returns the zero value then, and
// log lines show "unix".
func (c *Conn) Remote() netip.AddrPort { return c.client.Conn.Remote() }

// Data returns the value stored by SetData or, with Handler.State, the value that moves with the connection. Call it in
// callbacks only.
func (c *Conn) Data() any { return c.data }

// SetData stores a value with the connection; with Handler.State it must be a pointer of that type. If the handler has
// none of State, Suspend and Resume, a connection with a value cannot move: it is closed with 1012 when its worker is
// replaced. Call SetData in callbacks only.
func (c *Conn) SetData(v any) {
	c.data = v
	if v != nil && !c.end.handler.carries() {
		c.end.warnStays()
	}
}

// Send sends a message. It never blocks, and the message's bytes may be reused when it returns. If the connection has
// moved to another worker, a Conn that was kept still works: the message is sent to the new worker.
func (c *Conn) Send(m Message) SendResult {
	if m.kind == kindNoText {
		return Invalid
	}
	r := c.client.Conn.Send(ws.Opcode(m.sentOpcode()), m.data)
	if r != engine.Moved {
		return SendResult(r)
	}
	if c.end.app.Send(c.ID(), m) != nil {
		return Dropped
	}
	return Sent
}

// Buffered returns the number of bytes that are queued for the client.
func (c *Conn) Buffered() int { return c.client.Conn.Buffered() }

// Subscribe subscribes the connection to a topic: it receives what any worker publishes there. If the connection has
// resumed a session, and the topic has a HistoryRule, the client first gets what it has missed since the last
// connection of the session that was subscribed to the topic, as with SubscribeFrom; Handler.Recovered gets the
// outcome, and Subscribe does not wait for it. Subscribe fails with
// ErrTopic, ErrForbidden, ErrClosed, ErrMoved or ErrTooManySubscriptions. Subscribing twice has no further effect.
func (c *Conn) Subscribe(topic string) error {
	if broker.CheckTopic(topic) != nil {
		return ErrTopic
	}
	if !c.permits(auth.ActionSubscribe, topic) {
		return ErrForbidden
	}
	if c.client.Remembers(topic) {
		return c.continueOn(topic)
	}
	_, err := c.client.Conn.Subscribe(topic)
	return publicError(err)
}

// Unsubscribe ends a subscription, and reports whether there was one.
func (c *Conn) Unsubscribe(topic string) bool {
	if broker.CheckTopic(topic) != nil {
		return false
	}
	c.client.Forget(topic)
	return c.client.Conn.Unsubscribe(topic)
}

// Topics returns the topics that the connection is subscribed to, in no particular order. It returns none if the
// connection has ended or moved.
func (c *Conn) Topics() []string {
	return slices.DeleteFunc(c.client.Conn.Topics(), func(topic string) bool { return broker.CheckTopic(topic) != nil })
}

// Context returns a context that is done when the connection is closed, or is in another process: context.Cause returns
// ErrClosed or ErrMoved. It is done as soon as Send returns Closed, and therefore before Close is called, but not while
// what a client sent before it closed is being delivered. The context is made when it is first asked for, in each
// process anew: after a move, ask for it in Resume.
func (c *Conn) Context() context.Context { return c.client.Conn.Context() }

// Publish is like App.Publish, on behalf of the client: it fails with ErrForbidden if Auth.Permit denies it, and with
// ErrRate beyond Handler.PublishRate.
func (c *Conn) Publish(topic string, m Message, opts ...PublishOption) error {
	if !c.permits(auth.ActionPublish, topic) {
		return ErrForbidden
	}
	if !c.client.MayPublish() {
		return ErrRate
	}
	return c.end.app.Publish(topic, m, opts...)
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
