// Command chat is a program with the commands, for tests. Its greeting is a setting of its own.
package main

import (
	"errors"
	"os"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/command"
)

func main() { command.Main(setup) }

func setup(cfg expedite.Config) (*expedite.App, error) {
	greeting := os.Getenv("CHAT_GREETING")
	if greeting == "" {
		return nil, errors.New("CHAT_GREETING is not set: what should clients be greeted with?")
	}
	app := expedite.New(cfg)
	app.Handle("/chat", expedite.Handler{
		Open: func(c *expedite.Conn) {
			c.Send(expedite.Text(greeting))
			_ = c.Subscribe("room")
		},
		Message: func(c *expedite.Conn, m expedite.Message) { _ = c.Publish("room", m) },
	})
	return app, nil
}
