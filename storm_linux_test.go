package expedite

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// stormClients is how many connections recover at the same time in TestRecoveryStorm. More are asked for with an
// environment variable: docs/history.md has the result for 10,000.
const stormClients = "EXPEDITE_TEST_STORM"

// TestRecoveryStorm: all clients recover at the same time, and each gets the ten messages that it has missed. It prints
// the time and the memory.
func TestRecoveryStorm(t *testing.T) {
	n := 500
	if s := os.Getenv(stormClients); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	for what, topics := range map[string]int{"one topic": 1, "100 topics": 100} {
		addr, app := runApp(t, Config{Workers: 2})
		storm(t, what, addr, app, n, topics)
	}
}

func storm(t *testing.T, what, addr string, app *App, n, topics int) {
	t.Helper()
	const missed = 10
	payload := strings.Repeat("x", 100)
	for topic := range topics {
		for range missed {
			publishAll(t, app, fmt.Sprint("long.", topic), payload)
		}
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = upgrade(t, addr, "/history/inline")
	}
	rss := func() (sum uint64) {
		st, err := app.role.Load().control.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Totals.RSSBytes
	}
	before := rss()
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan error, n)
	start := time.Now()
	for i, c := range conns {
		go func() { // ends with the last message, or the deadline
			defer left.Add(-1)
			done <- stormClient(c, fmt.Sprintf(`{"Topic":"long.%d","Last":%d}`, i%topics, missed), missed)
		}()
	}
	peak := before
	for end := start.Add(3 * patience); left.Load() > 0 && time.Now().Before(end); {
		peak = max(peak, rss())
	}
	took := time.Since(start)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range conns {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d connections, %s: %d messages each in %v; workers: %d MiB before, at most %d MiB", n, what, missed,
		took.Round(time.Millisecond), before>>20, peak>>20)
}

// stormClient asks, and reads the messages and the outcome.
func stormClient(c net.Conn, ask string, missed int) error {
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return err
	}
	frame := append([]byte{0x81, 0x80 | byte(len(ask)), 0, 0, 0, 0}, ask...)
	if _, err := c.Write(frame); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	for i := range missed + 1 {
		head, err := r.Peek(2)
		if err != nil {
			return fmt.Errorf("message %d: %w", i+1, err)
		}
		b := make([]byte, 2+int(head[1])) // all of them are short
		for at := 0; at < len(b); {
			k, err := r.Read(b[at:])
			if err != nil {
				return err
			}
			at += k
		}
		if want := fmt.Sprintf("ok true, missed %d,", missed); i == missed && !strings.Contains(string(b), want) {
			return fmt.Errorf("got %q, want %q", b, want)
		}
	}
	return nil
}
