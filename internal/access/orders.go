package access

import (
	"log/slog"
	"sync"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/identity"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/ws"
)

// OrdersConfig configures Orders.
type OrdersConfig struct {
	Engine *engine.Engine
	Deny   *denylist.List
	Log    *slog.Logger
	// ClientOf returns the Client of the owner of a connection, nil if it has none.
	ClientOf func(owner any) *Client
	// CloseElsewhere closes a connection that is still opening, or has moved from here, and reports whether there is one.
	// On the loop.
	CloseElsewhere func(conn uint64, code ws.CloseCode, reason string) bool
}

// Orders carries out what the registry orders.
type Orders struct {
	OrdersConfig
	missed missedOrders

	mu       sync.Mutex
	waiting  []*pendingOrder
	sweeping bool
	oldest   int64 // when the oldest order came that a sweep has not finished; 0 is none
}

// pendingOrder is an order that waits for its sweep, or is part of the running one.
type pendingOrder struct {
	registry.Order
	at     int64 // when it came, on the loop's clock
	closed int   // on the loop
	done   func(closed int)
}

// NewOrders returns Orders.
func NewOrders(c OrdersConfig) *Orders { return &Orders{OrdersConfig: c} }

// Obey carries out an order. It does not wait: done receives how many connections were closed.
func (o *Orders) Obey(order registry.Order, done func(closed int)) {
	p := &pendingOrder{Order: order, at: reactor.Monotonic(), done: done}
	if order.Kind == registry.KindConnection {
		if !o.Engine.Post(func() { o.closeOne(p) }) { // the engine has ended, and its connections with it
			done(0)
		}
		return
	}
	o.missed.add(order, p.at)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest == 0 {
		o.oldest = p.at
	}
	o.waiting = append(o.waiting, p)
	if !o.sweeping {
		o.sweeping = true
		o.sweep()
	}
}

// closeOne closes one connection. On the loop.
func (o *Orders) closeOne(p *pendingOrder) {
	id, err := connid.Parse(p.Value)
	c := o.Engine.Lookup(uint64(id))
	switch {
	case err != nil: // it names no connection
	case c != nil && !c.Away():
		if c.Close(ws.CloseCode(p.Code), p.Reason) == nil {
			p.closed++
		}
	case o.CloseElsewhere(uint64(id), ws.CloseCode(p.Code), p.Reason):
		p.closed++
	}
	p.done(p.closed)
}

// sweep examines all connections once for all orders that wait. The caller holds o.mu.
func (o *Orders) sweep() {
	batch := o.waiting
	o.waiting = nil
	byName := make(map[[2]string][]*pendingOrder, len(batch))
	for _, p := range batch {
		name := [2]string{p.Kind, p.Value}
		byName[name] = append(byName[name], p) // each may spare another connection
	}
	examine := func(ec *engine.Conn) {
		c := o.ClientOf(ec.Owner())
		if c == nil {
			return
		}
		for _, name := range c.names() {
			for _, p := range byName[name] {
				if p.Except != c.ID() && ec.Close(ws.CloseCode(p.Code), p.Reason) == nil {
					p.closed++
					return
				}
			}
		}
	}
	posted := o.Engine.Sweep(examine, func() {
		for _, p := range batch {
			p.done(p.closed)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.oldest = 0
		if o.sweeping = len(o.waiting) > 0; o.sweeping {
			o.oldest = o.waiting[0].at
			o.sweep()
		}
	})
	if !posted { // the engine has ended, and its connections with it
		o.sweeping = false
	}
}

// Recheck closes all connections that the deny list denies: some may have been opening or moving when they were denied.
// It does not wait: done receives how many were closed.
func (o *Orders) Recheck(done func(closed int)) {
	if o.Deny.Len() == 0 {
		done(0)
		return
	}
	closed := 0
	posted := o.Engine.Sweep(func(ec *engine.Conn) {
		if c := o.ClientOf(ec.Owner()); c != nil && o.recheck(c) {
			closed++
		}
	}, func() { done(closed) })
	if !posted { // the engine has ended, and its connections with it
		done(0)
	}
}

// recheck closes a connection that the deny list denies, and reports whether it has. On the loop, or on a goroutine of
// the connection.
func (o *Orders) recheck(c *Client) (closed bool) {
	d := c.details.Load()
	if d == nil || o.Deny.Len() == 0 {
		return false
	}
	if _, denied := denies(o.Deny, d.user, identity.TokenIDOf(d.encoded), d.session); !denied {
		return false
	}
	return c.Conn.Close(registry.CodeRevoked, registry.RevokedReason) == nil // or it has ended
}

// Opened applies to a connection that has just opened what was ordered while it was opening. On the loop, or on a
// goroutine of the connection.
func (o *Orders) Opened(c *Client) {
	d := c.details.Load()
	if d == nil {
		return
	}
	o.recheck(c)
	o.catchUp(c, d.since)
}

// Since returns the time from which on a connection that leaves now may have missed orders. On the loop.
func (o *Orders) Since() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest != 0 {
		return o.oldest
	}
	return reactor.Monotonic()
}

// Arrived applies to a connection that has come from another worker, or has come back, what was ordered since it left;
// since 0 is the time that came with it. The connection is live. On the loop.
func (o *Orders) Arrived(id uint64, since int64) {
	ec := o.Engine.Lookup(id)
	if ec == nil {
		return
	}
	c := o.ClientOf(ec.Owner())
	if c == nil {
		return
	}
	d := c.details.Load()
	if d == nil {
		return
	}
	if since == 0 {
		since = d.since
	}
	o.recheck(c)
	o.catchUp(c, since)
}

// Pending reports whether Arrived may have something to do.
func (o *Orders) Pending() bool { return o.Deny.Len() > 0 || o.missed.any() }

// catchUp applies to a connection what was ordered since a time.
func (o *Orders) catchUp(c *Client, since int64) {
	order, known := o.missed.find(c, since)
	switch {
	case order != nil:
		_ = c.Conn.Close(ws.CloseCode(order.Code), order.Reason) // or it has ended
	case !known:
		_ = c.Conn.Close(ws.CloseTryAgainLater, "it took too long to open")
	}
}

var _ registry.Connections = (*Orders)(nil)
