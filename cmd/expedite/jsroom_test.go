package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

// roomVariable holds the roomConfig of an application. If it is set, this program is that application.
const roomVariable = "EXPEDITE_TEST_ROOM"

type roomConfig struct{ Control, Origin, Secret string }

// runRoom is the main function of an application whose clients are sent their worker as {"worker":1}, and what is
// published in front of which is its position. They may continue at a position (?at=), and ask for "pong", for a longer
// life ("refresh TOKEN"), or for a publication ("n 17").
func runRoom() int {
	var c roomConfig
	err := json.Unmarshal([]byte(os.Getenv(roomVariable)), &c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	cfg := expedite.Config{
		Addr: "127.0.0.1:0", Control: c.Control, Workers: 2, DrainTimeout: 10 * time.Second,
		History: []expedite.HistoryRule{{
			Topics: "room", Messages: 100_000, For: 10 * time.Minute,
			Frame: func(_ string, at expedite.Position, m expedite.Message) expedite.Message {
				return expedite.Text(at.String() + " " + m.String())
			},
		}},
	}
	if c.Origin != "" {
		cfg.Auth.Origins = auth.Origins{c.Origin}
	}
	if c.Secret != "" {
		keys, err := auth.ParseSecret([]byte(c.Secret))
		if err == nil {
			cfg.Auth.Verifier, err = auth.NewJWT(auth.JWTConfig{Keys: keys, Leeway: -1})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		cfg.Auth.Mode = expedite.AuthRequired
	}
	app := expedite.New(cfg)
	app.Handle("/room", expedite.Handler{
		Open: func(c *expedite.Conn) {
			c.Send(expedite.Text(fmt.Sprintf(`{"worker":%d}`, app.Slot())))
			var from expedite.Recover
			if at, err := expedite.ParsePosition(c.Query().Get("at")); err == nil {
				from = expedite.Recover{Epoch: at.Epoch, Offset: at.Offset}
			}
			if r, err := c.SubscribeFrom("room", from); err != nil || !r.OK {
				c.Send(expedite.Text(fmt.Sprintf("not recovered: %+v, %v", r, err)))
			}
		},
		Message: roomMessage,
	})
	mux := http.NewServeMux()
	mux.Handle("/readyz", app.Readyz())
	mux.Handle("/ticket", app.Ticket())
	app.HTTP(mux)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func roomMessage(c *expedite.Conn, m expedite.Message) {
	verb, rest, _ := strings.Cut(m.String(), " ")
	var err error
	switch verb {
	case "ping":
		c.Send(expedite.Text("pong"))
	case "refresh":
		if err = c.Refresh(rest); err == nil {
			c.Send(expedite.Text("refreshed"))
		}
	default:
		err = c.Publish("room", m)
	}
	if err != nil {
		c.Log().Error("message failed", "verb", verb, "error", err)
	}
}

// serveRoom starts the application for clients of a runtime.
func (r *jsRuntime) serveRoom(t *testing.T, secret string) *server {
	t.Helper()
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	cfg, err := json.Marshal(roomConfig{Control: s.control, Origin: r.origin, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return s.start(func(cmd *exec.Cmd) {
		cmd.Path = os.Args[0]
		cmd.Env = append(os.Environ(), roomVariable+"="+string(cfg))
	}, nil)
}

// publisher publishes "n 1", "n 2" and so on.
type publisher struct {
	stopped context.CancelFunc
	last    chan int
}

// publish starts a publisher through a connection to a path, in another worker than that of the client.
func (s *server) publish(ctx context.Context, path string, notIn int) *publisher {
	s.t.Helper()
	var conn *websocket.Conn
	for conn == nil {
		c, _, err := websocket.Dial(ctx, "ws://"+s.addr+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = c.CloseNow() })
		var hello struct{ Worker int }
		if _, b, err := c.Read(ctx); err != nil || json.Unmarshal(b, &hello) != nil {
			s.t.Fatalf("%v: %s", err, b)
		}
		if hello.Worker != notIn {
			conn = c
		}
	}
	go func() {
		for {
			if _, _, err := conn.Read(ctx); err != nil {
				return // the test has ended
			}
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	p := &publisher{stopped: cancel, last: make(chan int, 1)}
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			if err := conn.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, "n %d", n)); err != nil {
				s.t.Errorf("not published: %v", err)
				p.last <- n - 1
				return
			}
			select {
			case <-ctx.Done():
				p.last <- n
				return
			case <-tick.C:
			}
		}
	}()
	s.t.Cleanup(cancel)
	return p
}

// end stops the publisher and returns its last number.
func (p *publisher) end() int {
	p.stopped()
	return <-p.last
}
