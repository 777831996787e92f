package engine

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// onLoop runs f on the loop and waits until it has returned.
func (f *fixture) onLoop(do func()) {
	f.t.Helper()
	done := make(chan struct{})
	if !f.Post(func() { defer close(done); do() }) {
		f.t.Fatal("the loop has ended")
	}
	select {
	case <-done:
	case <-time.After(patience):
		f.t.Fatal("the loop does not go on")
	}
}

// TestHotPathAllocatesNothing: receiving and sending a small message, through protocol, handler, queue and socket,
// allocates nothing. A publication allocates the same for two subscribers as for two hundred.
func TestHotPathAllocatesNothing(t *testing.T) {
	opened := make(chan *Conn, 1)
	f := start(t, Config{}, map[string]*Route{
		"/": {Inline: true, Handler: funcs{open: func(c *Conn) { opened <- c }, message: echo.message}},
		"/topic": {Inline: true, Handler: funcs{open: func(c *Conn) {
			if _, err := c.Subscribe("all"); err != nil {
				t.Error(err)
			}
		}}},
	})
	p := f.dial(t, "/")
	c := <-opened
	go swallow(p.conn)
	frame := ws.AppendMaskedFrame(nil, ws.OpText, 0x01020304, []byte("twenty bytes of text"))
	in := make([]byte, len(frame))
	f.onLoop(func() {
		got := testing.AllocsPerRun(1000, func() {
			copy(in, frame) // because unmasking is in place
			c.feed(in)
			c.flush(false)
		})
		if got != 0 && !raceEnabled {
			t.Errorf("echo: got %v allocations per message, want 0", got)
		}
	})
	if in := f.Stats().TextIn; in < 1000 {
		t.Errorf("the handler saw %d messages, want 1000", in)
	}

	publish := func() (got float64) {
		payload := bytes.Repeat([]byte("x"), 20)
		f.onLoop(func() {
			got = testing.AllocsPerRun(100, func() {
				f.Publish(0, "all", ws.OpText, payload)
				f.Flush()
			})
		})
		return got
	}
	few, many := 2, 200
	subscribe := func(n int) {
		for f.Subscriptions() < n {
			go swallow(f.dial(t, "/topic").conn)
		}
	}
	subscribe(few)
	publish()
	a := publish()
	subscribe(many)
	publish()
	b := publish()
	if (a > 1 || b > 1) && !raceEnabled {
		t.Errorf("publish: got %v allocations for %d subscribers and %v for %d, want the frame alone", a, few, b, many)
	}
}

func swallow(conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// TestWatchdog: a callback that occupies the loop is reported with its stack, once.
func TestWatchdog(t *testing.T) {
	release := make(chan struct{})
	f := start(t, Config{WatchdogLimit: 20 * time.Millisecond}, map[string]*Route{
		"/": {Inline: true, Handler: funcs{message: func(*Conn, ws.Opcode, []byte) { holdTheLoop(release) }}},
	})
	p := f.dial(t, "/")
	p.send(ws.OpText, nil)
	until(t, "it is reported", func() bool { return strings.Contains(f.logs.String(), "holdTheLoop") })
	close(release)
	p.send(ws.OpText, nil)
	until(t, "the loop goes on", func() bool { return f.Stats().TextIn == 2 })
	// On a slow machine, other callbacks may have been reported, too.
	if n := strings.Count(f.logs.String(), "holdTheLoop("); n != 1 || f.Stats().Stalls == 0 {
		t.Errorf("the stall is reported %d times and counted %d times, want it once", n, f.Stats().Stalls)
	}
}

// TestWatchdogBlamesTheMachine: a callback that was runnable but got no processor is not to blame.
func TestWatchdogBlamesTheMachine(t *testing.T) {
	const limit = 100 * time.Millisecond
	tests := []struct {
		state string
		used  time.Duration
		stall bool
	}{
		{"runnable", limit / 10, false},
		{"running", 0, false},
		{"running, locked to thread", limit, true},
		{"runnable", limit, true},
		{"chan receive", 0, true},
		{"syscall", 0, true},
	}
	for _, tt := range tests {
		var logs bytes.Buffer
		var w watchdog
		w.init(limit, slog.New(slog.NewTextHandler(&logs, nil)))
		w.report("goroutine 7 ["+tt.state+"]:\nmain.work()", tt.used)
		if blamed := strings.Contains(logs.String(), "main.work"); blamed != tt.stall || (w.stalls.Load() == 1) != tt.stall {
			t.Errorf("%s, %v: the callback is blamed: %v, want %v", tt.state, tt.used, blamed, tt.stall)
		}
		if !tt.stall && !strings.Contains(logs.String(), "overloaded") {
			t.Errorf("%s: the machine is not blamed: %s", tt.state, &logs)
		}
	}
}

func holdTheLoop(release <-chan struct{}) { <-release }
