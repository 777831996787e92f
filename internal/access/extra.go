package access

import (
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/engine"
)

// extra is what only some connections have. It is set before the connection opens, or when it arrives.
type extra struct {
	values      []string // of the wildcards in the path of the endpoint, in their order
	subprotocol string
	published   atomic.Int64 // state of the limit of publications
	resume      *resume      // nil unless it has resumed a session
}

// more returns the extra of a connection that is not open yet.
func (c *Client) more() *extra {
	if c.extra == nil {
		c.extra = new(extra)
	}
	return c.extra
}

// describe stores what a handshake tells about the connection.
func (c *Client) describe(e *Endpoint, u *engine.Upgrade) {
	if e.Pattern != nil && len(e.Pattern.Names()) > 0 {
		c.more().values = e.Pattern.Values(u.Request.RawPath)
	}
	if i := slices.Index(e.Subprotocols, u.Handshake.Subprotocol); i >= 0 { // the string of the client keeps its request
		c.more().subprotocol = e.Subprotocols[i]
	}
}

// Ready makes what the limits of the endpoint need. It is called before the connection opens, and when it has arrived.
func (c *Client) Ready(e *Endpoint) {
	if e.PublishLimited {
		c.more()
	}
}

// MayPublish reports whether the connection may publish now, and records that it does.
func (c *Client) MayPublish() bool { return c.extra == nil || c.Conn.MayPublish(&c.extra.published) }

// PathValue returns the value of a wildcard in the path of the endpoint; empty if there is none of that name.
func (c *Client) PathValue(e *Endpoint, name string) string {
	if c.extra == nil || e.Pattern == nil {
		return ""
	}
	if i := slices.Index(e.Pattern.Names(), name); i >= 0 && i < len(c.extra.values) {
		return c.extra.values[i]
	}
	return ""
}

// setPathValues makes the values of the wildcards part of a request, as in an http.ServeMux.
func (c *Client) setPathValues(e *Endpoint, r *http.Request) {
	r.Pattern = e.Path
	if e.Pattern == nil {
		return
	}
	for _, name := range e.Pattern.Names() {
		r.SetPathValue(name, c.PathValue(e, name))
	}
}

// Subprotocol returns the subprotocol of the connection; empty if none was selected.
func (c *Client) Subprotocol() string {
	if c.extra == nil {
		return ""
	}
	return c.extra.subprotocol
}
