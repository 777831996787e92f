package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

const (
	// memberPrefix is the beginning of the topics of a fleet that have presence.
	memberPrefix = "who"
	// memberLease is the lease of its machines.
	memberLease = 6 * time.Second
)

// memberRule tells who comes and goes: "join TOPIC USER".
func memberRule() expedite.PresenceRule {
	return expedite.PresenceRule{Topics: memberPrefix + "*", Event: func(e expedite.PresenceEvent) expedite.Message {
		return expedite.Text(fmt.Sprintf("%s %s %s", e.Kind, e.Topic, e.Member.User))
	}}
}

// memberHandler serves clients of machines of a fleet that are members. Their URL tells their user and topics. To each
// topic that they send, they get the answer "members TOPIC USERS", where USERS are sorted and joined by commas; -
// follows if it is partial.
func memberHandler(app *expedite.App) expedite.Handler {
	return expedite.Handler{
		Authorize: func(r *http.Request, id *auth.Identity) error {
			id.User = r.URL.Query().Get("user")
			return nil
		},
		Open: func(c *expedite.Conn) {
			for _, topic := range strings.Fields(c.Query().Get("topics")) {
				if err := c.Subscribe(topic); err != nil {
					c.Log().Error("not subscribed", "error", err)
				}
			}
			c.Send(expedite.Text("ready"))
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			p, err := app.Presence(ctx, m.String())
			if err != nil {
				c.Send(expedite.Text(fmt.Sprintf("members %s %v", m, err)))
				return
			}
			var users []string
			for _, one := range p.Members {
				users = append(users, one.User)
			}
			slices.Sort(users)
			text := fmt.Sprintf("members %s %s", m, strings.Join(users, ","))
			if p.Partial || p.Count != len(users) {
				text += " -"
			}
			c.Send(expedite.Text(text))
		},
		Gap: func(c *expedite.Conn, topic string, missed uint64) {
			c.Send(expedite.Text(fmt.Sprintf("gap %s %d", topic, missed)))
		},
	}
}
