package access

import (
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// Client is what a worker knows of the client of a connection. It is part of the application's connection.
type Client struct {
	Conn   *engine.Conn
	Query  string        // of the handshake, without token and session
	silent atomic.Uint32 // since when, in seconds of the loop's clock, it is open and has sent no message; 0 if it has
	saved  uint16        // checksum of what was saved of what it has received. On the loop
	left   bool          // Tracker.Leave was called. On the loop
	// listened tells that it left topics with a history, which its session remembers. Written by Leave.
	listened bool
	details  atomic.Pointer[details]
	extra    *extra // nil if the connection has nothing of it
}

// details is what is known of a client at one time. It is replaced as a whole and never changed; a Client has none if
// nothing is known.
type details struct {
	user     string // part of encoded
	encoded  string // of identity.Append; empty is anonymous
	headers  string // the header fields that are logged, as a query
	session  session.ID
	resumed  bool
	attached *attached // until the connection opens; nil if nothing is left to do then
	since    int64     // when the handshake began, on the loop's clock; 0 once the connection is open
}

// identify sets the identity.
func (d *details) identify(id *auth.Identity) {
	d.user, d.encoded = "", ""
	if id.User != "" {
		d.encoded = string(identity.Append(nil, id))
		d.user = identity.UserOf(d.encoded)
	}
}

func (d *details) empty() bool { return d.encoded == "" && d.headers == "" && d.session.IsZero() }

// full returns the identity in full; nil if the client is anonymous.
func (d *details) full() *auth.Identity {
	if d == nil || d.encoded == "" {
		return nil
	}
	id, err := identity.Parse([]byte(d.encoded))
	if err != nil { // it was made or checked here
		return &auth.Identity{User: d.user}
	}
	return &id
}

// ID returns the id of the connection.
func (c *Client) ID() connid.ID { return connid.ID(c.Conn.ID()) }

// Identity returns a copy of the client's identity; nil if it is anonymous.
func (c *Client) Identity() *auth.Identity { return c.details.Load().full() }

// User returns the client's user; empty if it is anonymous.
func (c *Client) User() string {
	if d := c.details.Load(); d != nil {
		return d.user
	}
	return ""
}

// Session returns the session of the connection, and whether it existed before; zero if it has none.
func (c *Client) Session() (id session.ID, resumed bool) {
	if d := c.details.Load(); d != nil {
		return d.session, d.resumed
	}
	return id, false
}

// Spoke notes that the client has sent a message.
func (c *Client) Spoke() {
	if c.silent.Load() != 0 {
		c.silent.Store(0)
	}
}

// briefly is the time in seconds for which a connection must last, or the client say something, so that a new session
// outlives it even if it is anonymous and holds no values.
const briefly = 10

// brief reports whether the connection has hardly begun.
func (c *Client) brief() bool {
	since := c.silent.Load()
	return since != 0 && seconds()-since < briefly
}

// seconds returns the time of the loop's clock, which all processes of a machine share.
func seconds() uint32 { return uint32(reactor.Monotonic() / int64(time.Second)) }

// names returns the kinds and values by which orders can name the client; those that name nothing are empty.
func (c *Client) names() (list [3][2]string) {
	d := c.details.Load()
	if d == nil {
		return list
	}
	if d.user != "" {
		list[0] = [2]string{string(denylist.User), d.user}
	}
	if id := identity.TokenIDOf(d.encoded); id != "" {
		list[1] = [2]string{string(denylist.Token), id}
	}
	if !d.session.IsZero() {
		list[2] = [2]string{string(denylist.Session), d.session.String()}
	}
	return list
}

// Params selects the parameters of clients that are logged and stored with sessions.
type Params struct {
	Query, Headers []string
	Hide           *telemetry.Secrets
}

// LogAttrs returns what log lines show of the client of an endpoint: conn, session, user, remote, path and its
// parameters.
func (c *Client) LogAttrs(path string, p *Params) []slog.Attr {
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("conn", c.ID().String()))
	d := c.details.Load()
	if d != nil && !d.session.IsZero() {
		attrs = append(attrs, slog.String("session", d.session.Short()))
	}
	if d != nil && d.user != "" {
		attrs = append(attrs, slog.String("user", d.user))
	}
	attrs = append(attrs, slog.String("remote", c.Conn.Peer()), slog.String("path", path))
	if len(p.Query) > 0 && c.Query != "" {
		v, _ := url.ParseQuery(c.Query) // what cannot be parsed is left out
		attrs = p.append(attrs, v, p.Query)
	}
	if d != nil && d.headers != "" {
		if v, err := url.ParseQuery(d.headers); err == nil {
			attrs = p.append(attrs, v, p.Headers)
		}
	}
	return attrs
}

func (p *Params) append(attrs []slog.Attr, from url.Values, names []string) []slog.Attr {
	for _, name := range names {
		if v := p.Hide.Shown(name, from.Get(name)); v != "" {
			attrs = append(attrs, slog.String(name, v))
		}
	}
	return attrs
}

// userPrefix begins the topic of a user. Topics that begin with a zero byte are not the application's.
const userPrefix = "\x00user:"

// UserTopic returns the topic to which all connections of a user are subscribed.
func UserTopic(user string) string { return userPrefix + user }
