package expedite

import (
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/ws"
)

const (
	// missedKeep is how long an order is kept for connections that it could not find: longer than a handshake takes, and
	// a move.
	missedKeep = time.Minute
	// maxMissedOrders is the number of orders that are kept. For connections that have waited since before the oldest of
	// them, nobody knows: they are closed.
	maxMissedOrders = 4096
)

// missedOrders keeps orders for connections that were opening, or between two workers, when the order came. Times are
// those of the loop's clock, which all processes of a machine share. Any goroutine.
type missedOrders struct {
	mu    sync.Mutex
	list  []missedOrder // the oldest first
	known int64         // orders from here on are in list
}

type missedOrder struct {
	registry.Order
	at int64
}

// add keeps an order.
func (m *missedOrders) add(o registry.Order, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(m.list) && (len(m.list)-n >= maxMissedOrders || now-m.list[n].at > int64(missedKeep)) {
		m.known = m.list[n].at + 1
		n++
	}
	m.list = append(m.list[n:len(m.list):len(m.list)], missedOrder{o, now})
}

// find returns the first order since a time that means a connection, and whether all orders since then are known.
func (m *missedOrders) find(c *Conn, since int64) (o *registry.Order, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := c.names()
	for i := range m.list {
		one := &m.list[i]
		if one.at < since || one.Except == connid.ID(c.ID()) {
			continue
		}
		for _, name := range names {
			if name == [2]string{one.Kind, one.Value} {
				return &one.Order, true
			}
		}
	}
	return nil, since >= m.known
}

// any says whether there are orders.
func (m *missedOrders) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.list) > 0
}

// opened does to a connection that is open now what was ordered while it opened. On the loop, or a goroutine of the
// connection.
func (o *orders) opened(c *Conn) {
	w := c.who.Load()
	if w == nil {
		return
	}
	o.recheck(c)
	o.catchUp(c, w.since)
}

// catchUp does to a connection what was ordered since a time.
func (o *orders) catchUp(c *Conn, since int64) {
	ord, known := o.missed.find(c, since)
	switch {
	case ord != nil:
		_ = c.conn.Close(ws.CloseCode(ord.Code), ord.Reason) // or it has ended
	case !known:
		_ = c.conn.Close(ws.CloseTryAgainLater, "it took too long to open")
	}
}

// seconds is the time of the loop's clock.
func seconds() uint32 { return uint32(reactor.Monotonic() / int64(time.Second)) }
