// Command machines is a chat on several machines that share a Redis. Two of them on one computer are two machines as
// well:
//
//	redis-server
//	go run ./examples/machines -addr 127.0.0.1:8081 -redis redis://127.0.0.1:6379
//	go run ./examples/machines -addr 127.0.0.1:8082 -redis redis://127.0.0.1:6379
//
// Open http://127.0.0.1:8081/?name=alice and http://127.0.0.1:8082/?name=bob, and talk: what alice says is heard by
// everybody in the room, and "@bob psst" by bob alone, wherever he is. Then stop Redis: everybody goes on talking to
// those on the same machine. When Redis is back, they are told how many messages of the other machine are missing.
//
// docs/scale-out.md has what is promised, and deploy/ a load balancer in front of two machines.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"strings"
	"syscall"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

//go:embed page.html
var page string

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to serve on")
	redis := flag.String("redis", "", "URL of the Redis of all machines; empty: there is one machine")
	control := flag.String("control", "", "socket for expedite status and expedite reload")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	app := expedite.New(expedite.Config{
		Addr: *addr, Control: *control,
		Sessions: expedite.Sessions{Redis: *redis}, // publications and messages to users go through it, too
		OnStart:  func(s expedite.Started) { log.Printf("serving on http://%s", s.Addresses[0]) },
	})
	app.Handle("/chat", chat(app))
	app.HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page)
	}))
	// A reload first runs the new program as a trial, which ends with ErrTrial.
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		log.Fatal(err)
	}
}

// chat returns the endpoint of the chat: /chat?room=go&name=alice.
func chat(app *expedite.App) expedite.Handler {
	return expedite.Handler{
		// A real program has a Verifier: see docs/identity.md.
		Authorize: func(r *http.Request, id *auth.Identity) error {
			if id.User = r.URL.Query().Get("name"); id.User == "" {
				return expedite.Refuse(http.StatusUnauthorized, "say who you are: ?name=")
			}
			return nil
		},
		Open: func(c *expedite.Conn) {
			if err := c.Subscribe(room(c)); err != nil {
				c.Log().Error("not in the room", "error", err)
				return
			}
			say(c, c.User()+" joined")
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			to, text, private := strings.Cut(m.String(), " ")
			if to, ok := strings.CutPrefix(to, "@"); ok && private {
				// All connections of the user, on all machines.
				if err := app.SendUser(to, expedite.Text(c.User()+" to you: "+text)); err != nil {
					c.Log().Error("not sent", "error", err)
				}
				return
			}
			say(c, c.User()+": "+m.String())
		},
		// While there was no way to other machines, nothing of them could be heard. Here it is made up for: a program that
		// has its messages in a database reads there what is missing.
		Gap: func(c *expedite.Conn, _ string, missed uint64) {
			if missed == 0 {
				c.Send(expedite.Text("-- messages are missing --"))
				return
			}
			c.Send(expedite.Text(fmt.Sprintf("-- %d messages are missing --", missed)))
		},
	}
}

// say publishes in the room of c, on all machines.
func say(c *expedite.Conn, text string) {
	if err := c.Publish(room(c), expedite.Text(text)); err != nil {
		c.Log().Error("not published", "error", err)
	}
}

// room returns the topic of c.
func room(c *expedite.Conn) string { return "room:" + c.Query().Get("room") }
