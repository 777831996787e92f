package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"

	"github.com/expedite-go/expedite"
)

// object is an element of the application's heap. It has a pointer, so the garbage collector must scan it.
type object struct {
	next  *object
	value [7]uint64
}

const objectSize = 64

// serveTuning runs a server whose application has a heap: it keeps objects for each connection, and each message leaves
// garbage of its own length.
func serveTuning(args []string) error {
	flags := flag.NewFlagSet("tuning-server", flag.ExitOnError)
	control := flags.String("control", "", "control socket")
	gogc := flags.Int("gogc", 0, "Tuning.GOGC")
	memory := flags.String("memory", "", "Tuning.Memory")
	reserve := flags.String("reserve", "", "Tuning.MemoryReserve, or off")
	keep := flags.Int("keep", 2048, "bytes to keep for each connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tuning := expedite.Tuning{GOGC: *gogc}
	if *reserve == "off" {
		tuning.MemoryReserve, *reserve = -1, ""
	}
	for text, to := range map[*string]*int64{memory: &tuning.Memory, reserve: &tuning.MemoryReserve} {
		if *text == "" {
			continue
		}
		n, err := expedite.ParseMemory(*text)
		if err != nil {
			return err
		}
		*to = n
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	app := expedite.New(expedite.Config{
		Addr: "127.0.0.1:0", Workers: 1, Control: *control, Tuning: tuning, DrainTimeout: 1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	var last atomic.Pointer[[]byte] // prevents the compiler from optimizing the garbage away
	app.Handle("/", expedite.Handler{
		Inline: true, PingInterval: -1, IdleTimeout: -1,
		Open: func(c *expedite.Conn) {
			var kept *object
			for n := 0; n < *keep; n += objectSize {
				kept = &object{next: kept, value: [7]uint64{1, 2, 3, 4, 5, 6, 7}}
			}
			c.SetData(kept)
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			garbage := make([]byte, len(m.Bytes()))
			last.Store(&garbage)
			c.Send(m)
		},
	})
	return app.Run(ctx)
}
