package expedite

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/cluster"
)

// handleBackground has each process that serves tell when its background functions begin and end.
func handleBackground(app *App) {
	app.Go(func(ctx context.Context) {
		fmt.Println("background of", app.Slot(), "begins")
		<-ctx.Done()
		fmt.Println("background of", app.Slot(), "ends")
	})
}

// TestGoInWorkers: the functions run in each worker, not in the primary, and end before it does.
func TestGoInWorkers(t *testing.T) {
	if !cluster.Supported {
		t.Skip("there are no workers")
	}
	t.Setenv(testBackground, "1")
	var out lockedBuffer
	ctx, cancel := context.WithCancelCause(context.Background())
	started := make(chan struct{})
	app := obedient(Config{Addr: "127.0.0.1:0", Workers: 2, WorkerOutput: &out, OnStart: func(Started) { close(started) }})
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	select {
	case <-started:
	case <-time.After(patience):
		t.Error("the app does not start")
	}
	cancel(nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 begins", "2 begins", "1 ends", "2 ends"} {
		if strings.Count(out.String(), "background of "+want) != 1 {
			t.Errorf("got no %q, or several, in %s", want, &out)
		}
	}
	if strings.Contains(out.String(), "background of 0") {
		t.Errorf("the primary runs them, too: %s", &out)
	}
}

// TestGoAlone: in a process that serves alone, the functions end after the connections, and Run waits for them.
func TestGoAlone(t *testing.T) {
	var closed, endedAfter, returned atomic.Bool
	started := make(chan string, 1)
	app := New(Config{Addr: "127.0.0.1:0", Workers: -1, OnStart: func(s Started) { started <- s.Addresses[0] }})
	app.Handle("/", Handler{Close: func(*Conn, *CloseError) { closed.Store(true) }})
	app.Go(func(ctx context.Context) {
		<-ctx.Done()
		endedAfter.Store(closed.Load())
	})
	app.Go(func(ctx context.Context) {
		<-ctx.Done()
		returned.Store(true)
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+<-started, nil)
	if err != nil {
		t.Error(err)
	}
	cancel()
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("got a message, want the connection closed")
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !endedAfter.Load() || !returned.Load() {
		t.Errorf("ended after the connections: %t, all have returned: %t; want both", endedAfter.Load(), returned.Load())
	}
}

// testBackground is the environment variable that makes workers of a test run background functions.
const testBackground = "EXPEDITE_TEST_BACKGROUND"
