package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/topic"
	"github.com/expedite-go/expedite/internal/worker"
	"github.com/expedite-go/expedite/ws"
)

// PresenceRule makes it known who is in topics: see App.Presence. A member is in a topic while one of its connections,
// in any worker and on any machine, is subscribed to it. Members are users; clients without an identity are members by
// their session, or each connection by itself if it has none. A member that comes back within two seconds was never
// away, also for connections that move or a worker that dies.
type PresenceRule struct {
	// Topics is a pattern. A * matches any sequence of bytes, including an empty one. The first rule that matches a topic
	// applies to it.
	Topics string
	// Info returns what Member.Info is to be, of at most 256 bytes; more is cut off. It is called on the event loop, once
	// for a member in a topic and worker, and must not block. Of the connection, it must not use Data. Nil is nothing.
	Info func(c *Conn, topic string) []byte
	// Event returns the message that tells the subscribers of a topic of an event, among its publications. It is called
	// on the event loop, once per worker, and must not block. A client may or may not get the event of its own coming.
	// Nil tells nobody.
	Event func(e PresenceEvent) Message
	// MaxListed is the number of members up to which a topic lists its members and tells of events. Beyond it, only their
	// number is known. 0 is 1000; at most 10,000.
	MaxListed int
}

// maxListed is the largest PresenceRule.MaxListed.
const maxListed = 10_000

// minLease is the shortest Config.PresenceLease.
const minLease = time.Second

// PresenceKind is what has happened in a topic.
type PresenceKind uint8

// The kinds.
const (
	// PresenceJoined means that the member is in the topic from now on.
	PresenceJoined = PresenceKind(presence.Joined)
	// PresenceLeft means that it is no longer.
	PresenceLeft = PresenceKind(presence.Left)
	// PresenceCrowded means that there are more members than PresenceRule.MaxListed: events are not told from now on.
	PresenceCrowded = PresenceKind(presence.Crowded)
	// PresenceListed means that there are no more than that again: ask App.Presence who they are. Events are told from now
	// on.
	PresenceListed = PresenceKind(presence.Listed)
)

// String returns the kind in one word: join, leave, crowded or listed.
func (k PresenceKind) String() string {
	if k < PresenceJoined || k > PresenceListed {
		return "unknown"
	}
	return [...]string{"join", "leave", "crowded", "listed"}[k-PresenceJoined]
}

// PresenceEvent is what has happened in a topic.
type PresenceEvent struct {
	Topic string
	Kind  PresenceKind
	// Member is who has come or gone.
	Member Member
	// Count is the number of members after that.
	Count int
}

// Member is who is in a topic.
type Member struct {
	// ID is the same for all connections of a user, or of a session without a user. It does not tell the session's own
	// id.
	ID string `json:"id"`
	// User is the user; empty if the member is anonymous.
	User string `json:"user,omitempty"`
	// Info is what PresenceRule.Info has returned.
	Info []byte `json:"info,omitempty"`
}

// Presence tells who is in a topic.
type Presence struct {
	// Count is the number of members.
	Count int
	// Members are the members, unless there are more than PresenceRule.MaxListed: then Truncated is set.
	Members   []Member
	Truncated bool
	// Partial tells that other machines could not be asked: only the members of this machine are known.
	Partial bool
}

// ErrNoPresence reports that no rule of Config.Presence matches the topic.
var ErrNoPresence = errors.New("expedite: no presence on this topic")

// Presence returns who is in a topic on all machines. It blocks until the primary answers, so an Inline handler calls
// it on a goroutine. It fails with ErrTopic, ErrNoPresence, ErrOverloaded if too many ask, an error of ctx, or, outside
// of processes that serve connections, ErrNotRunning. It is safe for concurrent use.
func (a *App) Presence(ctx context.Context, topic string) (p Presence, err error) {
	if broker.CheckTopic(topic) != nil {
		return p, ErrTopic
	}
	if rules, err := a.rules(); err != nil || !covers(rules, topic) {
		return p, errors.Join(ErrNoPresence, err)
	}
	r := a.role.Load()
	if r == nil || r.worker == nil {
		return p, ErrNotRunning
	}
	query, err := json.Marshal(presence.Query{Topic: topic})
	if err != nil {
		return p, fmt.Errorf("expedite: %w", err)
	}
	b, err := r.worker.Registry().Presence(ctx, query)
	var answer presence.Answer
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	switch {
	case errors.Is(err, registry.ErrBusy):
		return p, ErrOverloaded
	case err != nil:
		return p, fmt.Errorf("expedite: %w", err)
	}
	p = Presence{Count: answer.Count, Truncated: answer.Truncated, Partial: answer.Partial}
	for _, m := range answer.Members {
		p.Members = append(p.Members, Member{ID: m.ID, User: presence.User(m.ID), Info: m.Info})
	}
	return p, nil
}

// presenceRules returns the rules by pattern.
func (c *Config) presenceRules() (*topic.Rules[*PresenceRule], error) {
	rules := new(topic.Rules[*PresenceRule])
	for i := range c.Presence {
		r := &c.Presence[i]
		p, err := topic.ParsePattern(r.Topics)
		if err != nil {
			return nil, fmt.Errorf("expedite: Config.Presence: %w", err)
		}
		if r.MaxListed < 0 || r.MaxListed > maxListed {
			return nil, fmt.Errorf("expedite: Config.Presence: MaxListed of %q is %d: want 0 to %d",
				r.Topics, r.MaxListed, maxListed)
		}
		rules.Add(p, r)
	}
	return rules, nil
}

// covers reports whether a rule matches a topic.
func covers(rules *topic.Rules[*PresenceRule], name string) bool {
	_, ok := rules.Find(name)
	return ok
}

// checkPresence reports rules that cannot work.
func (c *Config) checkPresence() error {
	_, err := c.presenceRules()
	if err == nil && c.MaxPresence < 0 {
		err = fmt.Errorf("expedite: Config.MaxPresence is %d: want 0 or more", c.MaxPresence)
	}
	if c.PresenceLease != 0 && (c.PresenceLease < minLease || c.PresenceLease > time.Hour) {
		err = errors.Join(err, fmt.Errorf("expedite: Config.PresenceLease is %v: want %v to an hour",
			c.PresenceLease, minLease))
	}
	if _, ok := c.Backplane.(backplane.Presence); c.Backplane != nil && len(c.Presence) > 0 && !ok {
		err = errors.Join(err, fmt.Errorf("expedite: Config.Presence needs a Config.Backplane that is a backplane.Presence, "+
			"which %T is not", c.Backplane))
	}
	return err
}

// presence returns the configuration of the presence of this machine.
func (c *Config) presence() (presence.Config, error) {
	p := presence.Config{Rules: new(topic.Rules[*presence.Rule]), Max: c.MaxPresence, Lease: c.PresenceLease}
	rules, err := c.presenceRules()
	if err != nil {
		return p, err
	}
	for pattern, r := range rules.All() {
		rule := &presence.Rule{MaxListed: r.MaxListed, Silent: r.Event == nil}
		if rule.MaxListed == 0 {
			rule.MaxListed = presence.DefaultListed
		}
		p.Rules.Add(pattern, rule)
	}
	return p, nil
}

// trackPresence finds out who is in topics in a process that serves alone; nil if there are no rules.
func (a *App) trackPresence(
	hub *broker.Hub, reg *registry.Server, plane backplane.Backplane,
) (*presence.Server, error) {
	c, err := a.cfg.presence()
	if err != nil || c.Rules.Len() == 0 {
		return nil, err
	}
	c.Hub, c.Prefix = hub, relay.AnnouncementPrefix()
	c.Plane, _ = plane.(backplane.Presence)
	c.Log = a.Logger()
	s := presence.NewServer(c)
	hub.Track(s)
	reg.OnPresence(s.Serve)
	return s, nil
}

// workerPresence returns how a worker takes part in presence; nil if there are no rules.
func (a *App) workerPresence() (*worker.Presence, error) {
	rules, err := a.rules()
	if err != nil || rules.Len() == 0 {
		return nil, err
	}
	return &worker.Presence{
		Covers: func(topic string) bool { return covers(rules, topic) },
		Member: memberID,
		Info: func(topic string, owner any) (info string) {
			r, ok := rules.Find(topic)
			c, isConn := owner.(*Conn)
			if !ok || !isConn || r.Info == nil {
				return ""
			}
			defer a.survive("PresenceRule.Info", topic)
			return string(r.Info(c, topic))
		},
		Event: func(topic string, e presence.Event) (op ws.Opcode, payload []byte, ok bool) {
			r, found := rules.Find(topic)
			if !found || r.Event == nil {
				return 0, nil, false
			}
			defer a.survive("PresenceRule.Event", topic)
			m := r.Event(PresenceEvent{
				Topic: topic, Kind: PresenceKind(e.Kind), Count: e.Count,
				Member: Member{ID: e.ID, User: presence.User(e.ID), Info: []byte(e.Info)},
			})
			return ws.Opcode(m.sentOpcode()), m.data, m.kind != kindNoText
		},
	}, nil
}

// memberID returns the ID under which the owner of a connection is a member of topics; empty if it is none.
func memberID(owner any) string {
	c, ok := owner.(*Conn)
	if !ok {
		return ""
	}
	if user := c.client.User(); user != "" {
		return presence.UserID(user)
	}
	if id, _ := c.client.Session(); !id.IsZero() {
		return presence.SessionID(id[:])
	}
	return presence.ConnID(c.ID().String())
}

// survive logs a panic of a function of the application that is not called for a connection.
func (a *App) survive(what, topic string) {
	v := recover()
	if v == nil {
		return
	}
	if j := a.journal.Load(); j == nil || j.Faults.Allow() {
		a.Logger().Error("panic", slog.String("in", what), slog.String("topic", topic), slog.Any("panic", v),
			slog.String("stack", string(debug.Stack())))
	}
}
