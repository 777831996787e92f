//go:build unix

// Command store counts the visits of each client in a session store of its own:
//
//	ws://localhost:8080/count             a new session; its id is the first message
//	ws://localhost:8080/count?session=ID  the session again, which also survives a restart of the server
package main

import (
	"context"
	"log"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/expedite-go/expedite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// Code before Run runs in every process: each worker opens the directory.
	store, err := Open("sessions")
	if err != nil {
		log.Fatal(err)
	}
	app := expedite.New(expedite.Config{Sessions: expedite.Sessions{Store: store}})
	app.Handle("/count", expedite.Handler{
		Session: true,
		Open:    func(c *expedite.Conn) { c.Send(expedite.Text(c.Session().ID().String())) },
		Message: func(c *expedite.Conn, _ expedite.Message) {
			n, err := count(context.Background(), c.Session())
			if err != nil {
				log.Print(err)
				return
			}
			c.Send(expedite.Text(strconv.Itoa(n)))
		},
	})
	if err := app.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// count increments the counter of a session.
func count(ctx context.Context, s expedite.Session) (int, error) {
	v, err := s.Get(ctx, "count")
	if err != nil {
		return 0, err
	}
	n, _ := strconv.Atoi(string(v)) // there is none at first
	return n + 1, s.Set(ctx, "count", []byte(strconv.Itoa(n+1)))
}
