// Command room is a room with a history, for tests: what a client says is heard by all, with its position.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/expedite-go/expedite"
)

func main() {
	redis := flag.String("redis", "", "URL of the Redis of all machines")
	control := flag.String("control", "", "socket for expedite status and expedite reload")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	app := expedite.New(expedite.Config{
		Addr: "127.0.0.1:0", Control: *control, Workers: 2, Sessions: expedite.Sessions{Redis: *redis},
		History: []expedite.HistoryRule{{
			Topics: "room", Messages: 1_000_000, For: time.Hour,
			Frame: func(_ string, at expedite.Position, m expedite.Message) expedite.Message {
				return expedite.Text(fmt.Sprintf("%s %s", at, m))
			},
		}},
	})
	app.Handle("/say", expedite.Handler{
		Message: func(c *expedite.Conn, m expedite.Message) {
			if err := app.Publish("room", m); err != nil {
				_ = c.Close(1011, err.Error())
			}
		},
	})
	app.Handle("/hear", expedite.Handler{
		Open: func(c *expedite.Conn) {
			from := expedite.Recover{}
			if at, err := expedite.ParsePosition(c.Query().Get("at")); err == nil {
				from = expedite.Recover{Epoch: at.Epoch, Offset: at.Offset}
			}
			r, err := c.SubscribeFrom("room", from)
			c.Send(expedite.Text(fmt.Sprintf("%s joined:%v:%d:%v", r.At, r.OK, r.Missed, err)))
		},
		Gap: func(c *expedite.Conn, topic string, missed uint64) {
			c.Send(expedite.Text(fmt.Sprintf("0:0 gap:%s:%d", topic, missed)))
		},
	})
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		log.Fatal(err)
	}
}
