// Command chat is a chat with rooms, on as many processes and machines as you like.
//
//	go run . serve
//	go run . serve --redis redis://127.0.0.1:6379    one of several machines; another one on the same computer:
//	go run . serve --redis redis://127.0.0.1:6379 --addr :8081 --control /tmp/b.sock --admin off
//
// Open http://localhost:8080 in two windows, and talk. "@bob psst" goes to all devices of bob, and to nobody else. Who
// was away gets what was said meanwhile.
package main

import (
	_ "embed"
	"net/http"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/client"
	"github.com/expedite-go/expedite/command"
)

//go:embed page.html
var page []byte

func main() { command.Main(setup) }

// chat is the application.
type chat struct {
	app    *expedite.App
	guests bool // clients have no tokens, and say who they are
}

// setup makes the App, in each process. The Config has what flags, environment and expedite.yaml say; their rules come
// first.
func setup(cfg expedite.Config) (*expedite.App, error) {
	cfg.History = append(cfg.History, expedite.HistoryRule{Topics: "room:*", Messages: 100, For: 24 * time.Hour})
	cfg.Presence = append(cfg.Presence, expedite.PresenceRule{Topics: "room:*", Event: comesOrGoes})
	app := expedite.New(cfg)
	c := &chat{app: app, guests: cfg.Auth.Verifier == nil}
	app.Handle("/chat/{room}", expedite.Handler{
		Session:     true,
		State:       expedite.Carry[guest](),
		Authorize:   c.authorize,
		Open:        c.open,
		Message:     c.message,
		Recovered:   recovered,
		Gap:         gap,
		MaxMessage:  4096,
		PublishRate: expedite.EventRate{PerSecond: 5, Burst: 20},
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.Handle("/expedite.js", client.Handler())
	mux.Handle("/ticket", app.Ticket())
	mux.Handle("/healthz", app.Healthz())
	mux.Handle("/readyz", app.Readyz())
	app.HTTP(mux)
	return app, nil
}

// guest is the state of a connection. It moves with the connection when its worker is replaced.
type guest struct {
	Said int // messages
}

// event is what clients receive. They send the fields Text and To.
type event struct {
	Type    string    `json:"type"`
	User    string    `json:"user,omitempty"`
	To      string    `json:"to,omitempty"`
	Text    string    `json:"text,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	Users   []string  `json:"users,omitempty"`
	Count   uint64    `json:"count,omitempty"`
	Session string    `json:"session,omitempty"`
}

func (e event) message() expedite.Message {
	m, _ := expedite.JSON(e) // an event has nothing that JSON cannot encode
	return m
}

// room returns the topic of a connection.
func room(c *expedite.Conn) string { return "room:" + c.PathValue("room") }

// authorize is called before the upgrade. A client with a token is who the token says. Without keys for tokens, clients
// say who they are, which is good for trying it, and for nothing else: docs/identity.md.
func (t *chat) authorize(r *http.Request, id *auth.Identity) error {
	if t.guests {
		id.User = r.URL.Query().Get("name")
	}
	if id.User == "" || len(id.User) > 64 {
		return expedite.Refuse(http.StatusUnauthorized, "who are you? A token, or ?name= if the server has no keys")
	}
	return nil
}

// open is called once in the life of a connection, however often it moves. A resumed session goes on where it was.
func (t *chat) open(c *expedite.Conn) {
	c.Send(event{Type: "welcome", User: c.User(), Session: c.Session().ID().String()}.message())
	var err error
	if c.Session().Resumed() {
		err = c.Subscribe(room(c))
	} else {
		_, err = c.SubscribeFrom(room(c), expedite.Recover{Last: 50})
	}
	if err != nil {
		c.Log().Warn("not in the room", "error", err)
		_ = c.Close(1013, "try again")
		return
	}
	here, err := t.app.Presence(c.Context(), room(c))
	if err != nil {
		c.Log().Warn("who is here?", "error", err)
		return
	}
	e := event{Type: "here", Count: uint64(here.Count)}
	for _, m := range here.Members {
		e.Users = append(e.Users, m.User)
	}
	c.Send(e.message())
}

// message is what a client says, to the room or to a user.
func (t *chat) message(c *expedite.Conn, m expedite.Message) {
	var in event
	if err := m.Decode(&in); err != nil || in.Text == "" {
		c.Send(event{Type: "error", Text: `want {"text": …}, and "to" for a private message`}.message())
		return
	}
	g := c.Data().(*guest)
	g.Said++
	out := event{Type: "said", User: c.User(), To: in.To, Text: in.Text, Time: time.Now(), Count: uint64(g.Said)}
	var err error
	if in.To == "" {
		err = c.Publish(room(c), out.message())
	} else if err = t.app.SendUser(in.To, out.message()); err == nil && in.To != c.User() {
		err = t.app.SendUser(c.User(), out.message()) // the other devices of the sender show it, too
	}
	if err != nil { // too many, not permitted, or overloaded
		c.Send(event{Type: "error", Text: err.Error()}.message())
	}
}

// recovered tells a client that has come back how many messages it has just been sent that it had missed. If they are
// no longer kept, it begins anew.
func recovered(c *expedite.Conn, topic string, r expedite.Recovered) {
	if r.OK {
		c.Send(event{Type: "recovered", Count: uint64(r.Missed)}.message())
		return
	}
	c.Send(event{Type: "anew"}.message())
	if _, err := c.SubscribeFrom(topic, expedite.Recover{Last: 50}); err != nil {
		c.Log().Warn("not recovered", "error", err)
	}
}

// gap tells a client that messages are missing: those of other machines, while there was no way to Redis.
func gap(c *expedite.Conn, _ string, missed uint64) {
	c.Send(event{Type: "missing", Count: missed}.message())
}

// comesOrGoes returns what a room is told when somebody's first device comes, or the last one goes.
func comesOrGoes(e expedite.PresenceEvent) expedite.Message {
	return event{Type: e.Kind.String(), User: e.Member.User, Count: uint64(e.Count)}.message()
}

// servePage serves the page, which needs nothing of other hosts.
func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; connect-src 'self'; img-src data:; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'")
	_, _ = w.Write(page)
}
