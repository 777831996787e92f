// Command chat is a program with the commands, for tests. The file of its greeting is a setting of its own.
package main

import (
	"fmt"
	"os"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/command"
)

func main() { command.Main(setup) }

func setup(cfg expedite.Config) (*expedite.App, error) {
	greeting, err := os.ReadFile(os.Getenv("CHAT_GREETING"))
	if err != nil {
		return nil, fmt.Errorf("CHAT_GREETING: name the file of the greeting: %w", err)
	}
	app := expedite.New(cfg)
	app.Handle("/chat", expedite.Handler{
		Open: func(c *expedite.Conn) {
			c.Send(expedite.Text(string(greeting)))
			_ = c.Subscribe("room")
		},
		Message: func(c *expedite.Conn, m expedite.Message) { _ = c.Publish("room", m) },
	})
	return app, nil
}
