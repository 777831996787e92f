package expedite

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/history"
	"github.com/expedite-go/expedite/internal/topic"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/ws"
)

// HistoryRule makes topics keep their latest messages, so that a client that was away can be sent what it has missed:
// see Conn.SubscribeFrom. docs/history.md describes it.
type HistoryRule struct {
	// Topics is a pattern of names. A * matches any sequence of bytes, including an empty one.
	Topics string
	// Messages is how many messages a topic keeps, 1 to 1,000,000, and For how long, at least a second.
	Messages int
	For      time.Duration
	// Frame returns what subscribers get of a message, so that clients learn positions. Nil means the message. It is
	// called on the event loop of each worker with subscribers, once for a message and again when it is recovered, and
	// must not block. The bytes of m are valid until it returns. While Redis is away, the messages of this machine have no
	// position: at is zero.
	Frame func(topic string, at Position, m Message) Message
}

// Position is the place of a message in the history of its topic. Offsets begin with 1 and grow by 1 per message. An
// epoch, a random number, ends when messages may have been lost: positions of another epoch cannot be continued from.
type Position struct{ Epoch, Offset uint64 }

// String returns the position as text, for clients: epoch and offset, with a colon between them.
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Epoch, p.Offset) }

// ParsePosition returns the position that String has written.
func ParsePosition(s string) (Position, error) {
	epoch, offset, _ := strings.Cut(s, ":")
	e, errEpoch := strconv.ParseUint(epoch, 10, 64)
	o, errOffset := strconv.ParseUint(offset, 10, 64)
	if err := errors.Join(errEpoch, errOffset); err != nil {
		return Position{}, fmt.Errorf("expedite: position %.50q: want two numbers with a colon between them", s)
	}
	return Position{Epoch: e, Offset: o}, nil
}

// Recover tells where a subscription begins. With an Epoch, it begins after the message at Offset, the last one that
// the client has had. Without one, it begins with the Last newest messages that are kept, so the zero value means from
// now on.
type Recover struct {
	Epoch, Offset uint64
	Last          int
}

// Recovered is the outcome of Conn.SubscribeFrom. The connection is subscribed.
type Recovered struct {
	// Missed is how many messages were sent before the subscription.
	Missed int
	// OK means that they are all that the client has missed. Otherwise its position could not be continued from, because
	// the epoch is another one or messages are no longer kept, or the history did not answer: the client has to fetch the
	// state anew.
	OK bool
	// Pending means that the outcome is not known yet: Handler.Recovered gets it.
	Pending bool
	// At is the position from which the subscription continues. It is zero if the history did not answer.
	At Position
}

// SubscribeFrom is Subscribe to a topic with a HistoryRule, and first sends the client the messages after a position.
// What is published later follows without a hole, and nothing is sent twice. It replaces a subscription that the
// connection has already.
//
// SubscribeFrom waits for the outcome, which takes until the client has read most of what it has missed. In an Inline
// handler it does not wait: the outcome is pending, and Handler.Recovered gets it. It fails like Subscribe, and with
// ErrNoHistory if no rule matches the topic, and ErrOverloaded if too many connections recover. After ErrMoved, which
// only goroutines of the application get, the recovery continues in the next worker, and Handler.Recovered gets the
// outcome there.
func (c *Conn) SubscribeFrom(topic string, from Recover) (Recovered, error) {
	if broker.CheckTopic(topic) != nil {
		return Recovered{}, ErrTopic
	}
	if !c.permits(auth.ActionSubscribe, topic) {
		return Recovered{}, ErrForbidden
	}
	r, err := c.client.Conn.SubscribeFrom(topic, engine.From{
		After: engine.Place{Epoch: from.Epoch, Offset: from.Offset},
		Last:  uint32(min(max(from.Last, 0), math.MaxUint32)),
	})
	return recoveredOf(r), publicError(err)
}

// continueOn subscribes the connection to a topic where its session has left it.
func (c *Conn) continueOn(topic string) error {
	s, err := c.client.Conn.Continue(topic)
	switch {
	case errors.Is(err, engine.ErrNoHistory): // the rules of this release are others
		_, err = c.client.Conn.Subscribe(topic)
		return publicError(err)
	case s == nil: // it is subscribed already, or has failed
		return publicError(err)
	}
	c.client.Continue(topic, func(m engine.Mark, ok bool) {
		if ok && m.Epoch == 0 { // it is not known what was received
			m.Place = engine.NoPlace()
		}
		s.Start(engine.From{After: m.Place})
	})
	return nil
}

func recoveredOf(r engine.Recovered) Recovered {
	return Recovered{Missed: r.Missed, OK: r.OK, Pending: r.Pending, At: Position(r.At)}
}

// recovered calls Handler.Recovered.
func (e *endpoint) recovered(ec *engine.Conn, topic string, r engine.Recovered) {
	e.worker.Wake()
	e.handler.Recovered(connOf(ec), topic, recoveredOf(r))
}

// defaultMaxHistory is Config.MaxHistory.
const defaultMaxHistory = 64 << 20

// maxKept is the largest HistoryRule.Messages.
const maxKept = 1_000_000

// histories returns the rules of Config.History: how much topics keep, and what their subscribers get.
func (c *Config) histories() (kept history.Config, frames topic.Rules[worker.Frame], err error) {
	kept.MaxBytes = c.MaxHistory
	if kept.MaxBytes <= 0 {
		kept.MaxBytes = defaultMaxHistory
	}
	for _, r := range c.History {
		p, err := topic.ParsePattern(r.Topics)
		if err != nil {
			return kept, frames, fmt.Errorf("expedite: Config.History: %w", err)
		}
		if r.Messages < 1 || r.Messages > maxKept || r.For < time.Second {
			return kept, frames, fmt.Errorf("expedite: Config.History: %s: got %d messages, %v; want 1 to %d, a second or more",
				r.Topics, r.Messages, r.For, maxKept)
		}
		kept.Rules.Add(p, history.Rule{Messages: r.Messages, For: min(r.For, maxDuration)})
		frames.Add(p, frameOf(r.Frame))
	}
	return kept, frames, nil
}

// frameOf returns f as workers call it; nil if f is nil.
func frameOf(f func(string, Position, Message) Message) worker.Frame {
	if f == nil {
		return nil
	}
	return func(topic string, at engine.Place, op ws.Opcode, payload []byte) (ws.Opcode, []byte) {
		m := messageOf(op&^engine.Plain, payload)
		m.plain = op&engine.Plain != 0
		framed := f(topic, Position(at), m)
		if framed.kind == kindNoText {
			return op, payload
		}
		return ws.Opcode(framed.sentOpcode()), framed.data
	}
}

// keepAlone connects the hub of a process that serves alone with the histories of topics; nil if there are none, or if
// those of other machines are there.
func (a *App) keepAlone(hub *broker.Hub) (*history.Store, error) {
	kept, _, err := a.cfg.histories()
	if err != nil || kept.Rules.Len() == 0 || a.cfg.manyMachines() {
		return nil, err
	}
	store := history.New(kept)
	hub.Keep(store)
	return store, nil
}
