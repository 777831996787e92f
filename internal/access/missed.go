package access

import (
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/registry"
)

const (
	// missedKeep is how long an order is kept for connections that it did not find. A handshake or a move takes less.
	missedKeep = time.Minute
	// maxMissedOrders is the number of orders that are kept. A connection that has been opening since before the oldest of
	// them is closed: whether it was ordered to close is not known.
	maxMissedOrders = 4096
)

// missedOrders keeps orders for connections that were opening, or between two workers, when the order came. Times are
// on the loop's clock, which all processes of a machine share.
type missedOrders struct {
	mu    sync.Mutex
	list  []missedOrder // the oldest first
	known int64         // list has all orders from this time on
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

// find returns the first order since a time that names a client, and whether all orders since then are known.
func (m *missedOrders) find(c *Client, since int64) (o *registry.Order, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := c.names()
	for i := range m.list {
		one := &m.list[i]
		if one.at < since || one.Except == c.ID() {
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

// any reports whether there are orders.
func (m *missedOrders) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.list) > 0
}
