package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/expedite-go/expedite"
)

// idleTopic is the topic to which every idle connection subscribes.
const idleTopic = "news"

// serveHandoff runs the server whose worker is replaced: the primary, and the worker that it starts from the same
// program. args is the path of the control socket.
func serveHandoff(args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	app := expedite.New(expedite.Config{
		Addr: "127.0.0.1:0", Workers: 1, Control: strings.Join(args, " "), TLS: handoffTLS(),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		// OnStart runs only in the primary. Workers have no standard input and would end at once if they read it.
		OnStart: func(st expedite.Started) {
			fmt.Println(st.Addresses[0])
			go func() { // ends with standard input, as does the process
				_, _ = io.Copy(io.Discard, os.Stdin)
				cancel() // the clients are gone, so there is nothing to drain
			}()
		},
	})
	app.Handle("/idle", expedite.Handler{
		PingInterval: -1, IdleTimeout: -1,
		Open: func(c *expedite.Conn) {
			if err := c.Subscribe(idleTopic); err != nil {
				c.Close(1011, err.Error())
			}
		},
	})
	app.Handle("/echo", expedite.Handler{
		Inline: true, PingInterval: -1, IdleTimeout: -1,
		Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	app.Handle("/publish", expedite.Handler{
		Message: func(_ *expedite.Conn, m expedite.Message) { _ = app.Publish(idleTopic, m) },
	})
	if err := app.Run(ctx); !errors.Is(err, expedite.ErrTrial) {
		return err
	}
	return nil
}
