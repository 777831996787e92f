package expedite

import (
	"fmt"
	"net/http"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// handleRooms serves clients with sessions. They subscribe to the topic of their query, and hear how that goes on.
func handleRooms(app *App) {
	room := Handler{
		Session: true, QueueLimit: 64 << 10, CloseTimeout: time.Second,
		Authorize: func(r *http.Request, id *auth.Identity) error {
			id.User = r.URL.Query().Get("user")
			return nil
		},
		Open: func(c *Conn) {
			c.Send(Text(fmt.Sprintf(`{"session":"%v","resumed":%v,"worker":%d}`,
				c.Session().ID(), c.Session().Resumed(), app.Slot())))
			if err := c.Subscribe(c.Query().Get("topic")); err != nil {
				c.Send(Text(err.Error()))
			}
			c.Send(Text("subscribed"))
		},
		Recovered: func(c *Conn, topic string, r Recovered) {
			c.Send(Text(fmt.Sprintf("%s: ok %v, missed %d", topic, r.OK, r.Missed)))
		},
	}
	app.Handle("/room", room)
	room.Inline = true
	app.Handle("/room/inline", room)
}
