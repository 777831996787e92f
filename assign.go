package expedite

import (
	"fmt"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/registry"
)

// Subscribe subscribes the connections that match who to a topic, in all workers on all machines: those of a user, that
// of a session, or one. It is the server's own doing, so Auth.Permit is not asked. Connections that are opened later
// are not subscribed: do so in Open. What the same caller publishes afterwards on the topic reaches those of
// this machine, also if they move meanwhile, and those of others from about one round trip later. A subscription beyond
// the limit of a connection is not made, and counted. A session is looked for among all connections.
//
// Subscribe does not wait for the workers, so it is nil if there is no such connection. It fails with ErrTopic,
// ErrOverloaded or ErrNotRunning, or if who is not exactly one of these. It never blocks, and is safe for
// concurrent use.
func (a *App) Subscribe(who Who, topic string) error { return a.assign(who, topic, false) }

// Unsubscribe ends the subscriptions of the connections that match who, as Subscribe begins them.
func (a *App) Unsubscribe(who Who, topic string) error { return a.assign(who, topic, true) }

func (a *App) assign(who Who, topic string, leave bool) error {
	if broker.CheckTopic(topic) != nil {
		return ErrTopic
	}
	b := a.publisher()
	if b == nil {
		return ErrNotRunning
	}
	do := broker.Assignment{Topic: topic, Leave: leave, Conn: uint64(who.Conn), Except: uint64(who.Except)}
	named := 0
	if who.User != "" {
		do.Of = access.UserTopic(who.User)
		named++
	}
	if !who.Session.IsZero() {
		do.Session = []byte(who.Session.String())
		named++
	}
	if who.Conn != 0 {
		named++
	}
	switch {
	case named != 1 || who.TokenID != "":
		return fmt.Errorf("%w, and no token id for a subscription", registry.ErrTarget)
	case len(do.Of) > broker.MaxTopic:
		return ErrTopic
	}
	return publicError(b.PublishExcept(broker.TopicAssignments, 0, do.Append(nil), 0))
}
