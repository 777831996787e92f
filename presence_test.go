package expedite

import (
	"context"
	"fmt"
	"net/http"

	"github.com/expedite-go/expedite/auth"
)

// presenceRules are those of the obedient app.
func presenceRules() []PresenceRule {
	event := func(e PresenceEvent) Message {
		return Text(fmt.Sprintf("%s %s %d %s", e.Kind, e.Member.ID, e.Count, e.Member.Info))
	}
	return []PresenceRule{
		{Topics: "present:small*", Event: event, MaxListed: 2},
		{Topics: "present:silent*"},
		{Topics: "present:broken*", Event: func(PresenceEvent) Message { panic("broken") }, Info: func(*Conn, string) []byte {
			panic("broken")
		}},
		{Topics: "present:*", Event: event, Info: func(c *Conn, topic string) []byte {
			return []byte(c.Query().Get("info"))
		}},
	}
}

// handlePresence has endpoints that subscribe their clients to a topic with presence. To "who", they answer who is
// there. With ?user=, clients are users; on /presentsession/, they have sessions. With ?later=, they subscribe with
// "sub".
func handlePresence(app *App) {
	h := Handler{
		Authorize: func(r *http.Request, id *auth.Identity) error {
			id.User = r.URL.Query().Get("user")
			return nil
		},
		Open: func(c *Conn) {
			c.Send(Text(fmt.Sprint(app.Slot())))
			if s := c.Session().ID(); !s.IsZero() {
				c.Send(Text(s.String()))
			}
			if c.Query().Get("later") == "" {
				attendRoom(c)
			}
		},
		Message: func(c *Conn, m Message) {
			if m.String() == "sub" {
				attendRoom(c)
				return
			}
			if m.String() != "who" {
				_ = c.Publish("present:"+c.PathValue("room"), m)
				return
			}
			p, err := app.Presence(context.Background(), "present:"+c.PathValue("room"))
			if err != nil {
				c.Send(Text(err.Error()))
				return
			}
			m, err = JSON(p)
			if err != nil {
				panic(err)
			}
			c.Send(m)
		},
	}
	app.Handle("/present/{room}", h)
	h.Session = true
	app.Handle("/presentsession/{room}", h)
}

func attendRoom(c *Conn) {
	if err := c.Subscribe("present:" + c.PathValue("room")); err != nil {
		c.Send(Text(err.Error()))
	}
}
