package access

import (
	"container/heap"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
)

// Live lists connections that have sessions: those with the smallest ids above req.After.
func (o *Orders) Live(req registry.LiveRequest, done func([]registry.LiveConn)) {
	list := largestFirst{}
	limit := min(req.Limit, registry.MaxLive)
	posted := o.Engine.Sweep(func(ec *engine.Conn) {
		c := o.ClientOf(ec.Owner())
		if c == nil {
			return
		}
		id := c.ID()
		if id <= req.After || len(list) >= limit && (limit < 1 || id > list[0].Conn) {
			return
		}
		if session, _ := c.Session(); !session.IsZero() {
			heap.Push(&list, registry.LiveConn{Session: session, User: c.User(), Conn: id})
		}
		if len(list) > limit {
			heap.Pop(&list)
		}
	}, func() { done(list) })
	if !posted {
		done(list)
	}
}

// Members returns the subscribers of a topic, with their ids if they are wanted.
func (o *Orders) Members(req registry.MembersRequest, done func(registry.Members)) {
	if !req.IDs {
		done(registry.Members{Count: o.Engine.Members(req.Topic)})
		return
	}
	posted := o.Engine.Post(func() {
		var m registry.Members
		m.Count = o.Engine.EachMember(req.Topic, func(id uint64) bool {
			m.IDs = append(m.IDs, connid.ID(id))
			return len(m.IDs) < registry.MaxMembers
		})
		done(m)
	})
	if !posted { // the engine has ended, and its connections with it
		done(registry.Members{})
	}
}

// Connected counts connections that have sessions.
func (o *Orders) Connected(done func(connected int64)) {
	connected := int64(0)
	posted := o.Engine.Sweep(func(ec *engine.Conn) {
		if c := o.ClientOf(ec.Owner()); c != nil {
			if session, _ := c.Session(); !session.IsZero() {
				connected++
			}
		}
	}, func() { done(connected) })
	if !posted {
		done(0)
	}
}

// largestFirst is a heap with the connection of the largest id on top.
type largestFirst []registry.LiveConn

// Len implements heap.Interface.
func (l largestFirst) Len() int { return len(l) }

// Less implements heap.Interface.
func (l largestFirst) Less(i, j int) bool { return l[i].Conn > l[j].Conn }

// Swap implements heap.Interface.
func (l largestFirst) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push implements heap.Interface.
func (l *largestFirst) Push(x any) { *l = append(*l, x.(registry.LiveConn)) }

// Pop implements heap.Interface.
func (l *largestFirst) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
