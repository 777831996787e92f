// Command chat is a chat with rooms: ws://localhost:8080/chat?room=go&name=alice
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	app := expedite.New(expedite.Config{Control: "chat.sock"}) // expedite status --control chat.sock; reload, too
	app.Handle("/chat", expedite.Handler{
		Authorize: func(r *http.Request, id *auth.Identity) error {
			if id.User = r.URL.Query().Get("name"); id.User == "" {
				return expedite.Refuse(http.StatusUnauthorized, "say who you are: ?name=")
			}
			return nil
		},
		Open: func(c *expedite.Conn) {
			if err := c.Subscribe(room(c)); err != nil {
				log.Print(err)
				return
			}
			say(c, " joined")
		},
		State: expedite.Carry[guest](),
		Message: func(c *expedite.Conn, m expedite.Message) {
			c.Data().(*guest).Said++
			say(c, ": "+m.String())
		},
		Close: func(c *expedite.Conn, _ *expedite.CloseError) {
			say(c, fmt.Sprintf(" left; messages: %d", c.Data().(*guest).Said))
		},
	})
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		log.Fatal(err)
	}
}

// say publishes a message from c to its room.
func say(c *expedite.Conn, what string) {
	if err := c.Publish(room(c), expedite.Text(c.User()+what)); err != nil {
		log.Print(err)
	}
}

// guest is the state of a connection. Handler.State moves it to the new worker when a worker is replaced.
type guest struct{ Said int }

// room returns the topic of c. The query moves with the connection, too.
func room(c *expedite.Conn) string { return "room:" + c.Query().Get("room") }
