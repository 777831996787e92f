package expedite

import (
	minheap "container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/identity"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// Who names connections: exactly one field is set, beside Except.
type Who struct {
	User    string
	Session session.ID
	Conn    ID
	// TokenID is that of auth.Identity.
	TokenID string
	// Except is a connection that is left alone.
	Except ID
}

// errWho says that a Who names nobody, or too much.
var errWho = errors.New("expedite: want one of a user, a session, a connection and a token id")

// order makes the order to close the connections that w names.
func (w Who) order(code ws.CloseCode, reason string) (registry.Order, error) {
	o := registry.Order{Except: connid.ID(w.Except), Code: uint16(code), Reason: reason}
	named := 0
	set := func(kind, value string, is bool) {
		if is {
			named++
			o.Kind, o.Value = kind, value
		}
	}
	set(string(denylist.User), w.User, w.User != "")
	set(string(denylist.Session), w.Session.String(), !w.Session.IsZero())
	set(string(denylist.Token), w.TokenID, w.TokenID != "")
	set(registry.KindConnection, w.Conn.String(), w.Conn != 0)
	if named != 1 {
		return o, errWho
	}
	return o, ws.CheckClose(code, reason)
}

// orders carries out what the primary says. Any goroutine, unless a method says otherwise.
type orders struct {
	n *node

	missed missedOrders

	mu       sync.Mutex
	waiting  []*errand
	sweeping bool
	oldest   int64 // when the oldest order came that some connections may not have heard of; 0: there is none
}

// errand is an order that waits for its sweep, or is in it.
type errand struct {
	registry.Order
	at     int64 // when it came, on the loop's clock
	closed int   // on the loop
	done   func(closed int)
}

// Obey carries an order out; done is told how many connections it has closed.
func (o *orders) Obey(ord registry.Order, done func(closed int)) {
	e := &errand{Order: ord, at: reactor.Monotonic(), done: done}
	if ord.Kind == registry.KindConnection {
		o.n.eng.Post(func() { o.closeOne(e) })
		return
	}
	o.missed.add(ord, e.at)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest == 0 {
		o.oldest = e.at
	}
	o.waiting = append(o.waiting, e)
	if !o.sweeping {
		o.sweeping = true
		o.sweep()
	}
}

// closeOne closes one connection. On the loop.
func (o *orders) closeOne(e *errand) {
	id, err := ParseID(e.Value)
	c := o.n.eng.Lookup(uint64(id))
	switch {
	case err != nil: // it names none
	case c != nil && !c.Away():
		if c.Close(ws.CloseCode(e.Code), e.Reason) == nil {
			e.closed++
		}
	case o.n.deliver(broker.Envelope{ // it opens, or has left
		Kind: broker.Close, Conn: uint64(id), Code: e.Code, Payload: []byte(e.Reason),
	}):
		e.closed++
	}
	e.done(e.closed)
}

// sweep looks at all connections once, for all errands that wait. With o.mu held.
func (o *orders) sweep() {
	batch := o.waiting
	o.waiting = nil
	by := make(map[[2]string][]*errand, len(batch))
	for _, e := range batch {
		name := [2]string{e.Kind, e.Value}
		by[name] = append(by[name], e) // each has its own exception
	}
	look := func(ec *engine.Conn) {
		c, ok := ec.Owner().(*Conn)
		if !ok {
			return
		}
		for _, name := range c.names() {
			for _, e := range by[name] {
				if e.Except != connid.ID(c.ID()) && ec.Close(ws.CloseCode(e.Code), e.Reason) == nil {
					e.closed++
					return
				}
			}
		}
	}
	posted := o.n.eng.Sweep(look, func() {
		for _, e := range batch {
			e.done(e.closed)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.oldest = 0
		if o.sweeping = len(o.waiting) > 0; o.sweeping {
			o.oldest = o.waiting[0].at
			o.sweep()
		}
	})
	if !posted { // the engine is at its end, and its connections with it
		o.sweeping = false
	}
}

// names are the words by which orders may mean a connection; those that mean nothing are empty.
func (c *Conn) names() (list [3][2]string) {
	w := c.who.Load()
	if w == nil {
		return list
	}
	if w.user != "" {
		list[0] = [2]string{string(denylist.User), w.user}
	}
	if id := identity.TokenIDOf(w.ident); id != "" {
		list[1] = [2]string{string(denylist.Token), id}
	}
	if !w.session.IsZero() {
		list[2] = [2]string{string(denylist.Session), w.session.String()}
	}
	return list
}

// recheck closes a connection that has been revoked since the gate had looked: before it opened, or while it moved. It
// reports whether it has. On the loop, or a goroutine of the connection.
func (o *orders) recheck(c *Conn) (closed bool) {
	w := c.who.Load()
	if w == nil || o.n.gate.deny.Len() == 0 {
		return false
	}
	if o.n.gate.denied(w.user, identity.TokenIDOf(w.ident), w.session) == nil {
		return false
	}
	return c.conn.Close(CloseUnauthorized, registry.RevokedReason) == nil // or it has ended
}

// unheard is the time from which on a connection that leaves now may not have heard of orders. On the loop.
func (o *orders) unheard() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest != 0 {
		return o.oldest
	}
	return reactor.Monotonic()
}

// arrived does to a connection that has come from another worker, or has come back, what was ordered since it left
// there. It is live. On the loop.
func (o *orders) arrived(id uint64, since int64) {
	ec := o.n.eng.Lookup(id)
	if ec == nil {
		return
	}
	c := owner(ec)
	w := c.who.Load()
	if w == nil {
		return
	}
	if since == 0 {
		since = w.since
	}
	o.recheck(c)
	o.catchUp(c, since)
}

// pending says whether there may be orders for arrived.
func (o *orders) pending() bool { return o.n.gate.deny.Len() > 0 || o.missed.any() }

// Recheck rechecks all connections: some may have been under way when an order came. done is told how many it has
// closed. Any goroutine.
func (o *orders) Recheck(done func(closed int)) {
	if o.n.gate.deny.Len() == 0 {
		done(0)
		return
	}
	closed := 0
	posted := o.n.eng.Sweep(func(ec *engine.Conn) {
		if c, ok := ec.Owner().(*Conn); ok && o.recheck(c) {
			closed++
		}
	}, func() { done(closed) })
	if !posted { // the engine is at its end, and its connections with it
		done(0)
	}
}

// Kick closes the connections that who names, in every worker and on every machine, with CloseKicked. With a session,
// and with a user, the sessions are deleted, too. It returns how many connections of this machine it has closed. An
// error that is session.ErrUnavailable says that other machines were not told. It may block. Any goroutine.
func (a *App) Kick(ctx context.Context, who Who, reason string) (closed int, err error) {
	r, err := a.kick(ctx, who, reason)
	return r.Closed, warn(r, err)
}

// kick is Kick, and tells the warning apart.
func (a *App) kick(ctx context.Context, who Who, reason string) (registry.Done, error) {
	o, err := who.order(CloseKicked, reason)
	if err != nil {
		return registry.Done{}, publicError(err)
	}
	return a.command(ctx, registry.Command{Order: o, Drop: true})
}

// warn makes an error of the warning, if there is no other one.
func warn(d registry.Done, err error) error {
	if err == nil && d.Warning != "" {
		err = fmt.Errorf("%w: %s", session.ErrUnavailable, d.Warning)
	}
	return err
}

// DefaultRevocation is how long App.Revoke denies if it is not told.
const DefaultRevocation = 24 * time.Hour

// Revoke denies a user, a token or a session for a time, by which the token should have expired, and closes its
// connections with CloseUnauthorized, in every worker and on every machine. 0 is DefaultRevocation. With an error that
// is session.ErrUnavailable it holds on this machine, and others do not know yet: they hear of it as soon as Redis
// takes it. It may block. Any goroutine.
func (a *App) Revoke(ctx context.Context, who Who, d time.Duration) (closed int, err error) {
	r, _, err := a.revoke(ctx, who, d)
	return r.Closed, warn(r, err)
}

// revoke is Revoke, and tells until when.
func (a *App) revoke(ctx context.Context, who Who, d time.Duration) (registry.Done, time.Time, error) {
	o, err := who.order(CloseUnauthorized, registry.RevokedReason)
	if err == nil && who.Conn != 0 {
		err = fmt.Errorf("%w: a connection cannot be revoked", errWho)
	}
	if err != nil {
		return registry.Done{}, time.Time{}, publicError(err)
	}
	if d <= 0 {
		d = DefaultRevocation
	}
	// The deny list counts in seconds.
	o.Until = time.Now().Add(d + time.Second - 1).Truncate(time.Second)
	r, err := a.command(ctx, registry.Command{Order: o, Drop: who.Session != session.ID{}})
	return r, o.Until, err
}

// command has the registry carry a command out.
func (a *App) command(ctx context.Context, c registry.Command) (registry.Done, error) {
	if d := a.desk.Load(); d != nil {
		return d.registry.Command(ctx, c)
	}
	if n := a.node.Load(); n != nil {
		return n.uplink.Command(ctx, c)
	}
	return registry.Done{}, ErrNotRunning
}

// Live lists connections that have sessions.
func (o *orders) Live(req registry.LiveRequest, done func([]registry.LiveConn)) {
	list := largest{}
	most := min(req.Limit, registry.MaxLive)
	posted := o.n.eng.Sweep(func(ec *engine.Conn) {
		c, ok := ec.Owner().(*Conn)
		if !ok {
			return
		}
		id := connid.ID(c.ID())
		if id <= req.After || len(list) >= most && (most < 1 || id > list[0].Conn) {
			return
		}
		if w := c.who.Load(); w != nil && !w.session.IsZero() {
			minheap.Push(&list, registry.LiveConn{Session: w.session, User: w.user, Conn: id})
		}
		if len(list) > most {
			minheap.Pop(&list)
		}
	}, func() { done(list) })
	if !posted {
		done(list)
	}
}

// Connected counts connections that have sessions.
func (o *orders) Connected(done func(connected int64)) {
	connected := int64(0)
	posted := o.n.eng.Sweep(func(ec *engine.Conn) {
		if c, ok := ec.Owner().(*Conn); ok && !c.who.Load().sessionID().IsZero() {
			connected++
		}
	}, func() { done(connected) })
	if !posted {
		done(0)
	}
}
