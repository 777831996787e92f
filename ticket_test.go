package expedite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ticketsOnly is the address of a server that knows no tokens and serves App.Ticket at every path.
func ticketsOnly(t *testing.T) string {
	t.Helper()
	started := make(chan string, 1)
	app := New(Config{Addr: "127.0.0.1:0", Workers: -1, BodyTimeout: time.Hour, OnStart: func(s Started) { started <- s.Addresses[0] }})
	app.HTTP(app.Ticket())
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	t.Cleanup(func() {
		cancel(ErrStopNow)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return <-started
}

// TestTicketAnswersAtOnce: a request for a ticket is answered without its body, which nobody wants; and a server that
// knows no tokens says so.
func TestTicketAnswersAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		want       int
		says       string
	}{
		{"no token", openDoor(t, Config{BodyTimeout: time.Hour}).addr, http.StatusUnauthorized, "missing"},
		{"a server without tokens", ticketsOnly(t), http.StatusNotFound, "no_tokens"},
	} {
		conn, err := net.Dial("tcp", tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(conn, "POST /ticket HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.want || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s: got %s, %s; want %d and %s", tt.name, resp.Status, body, tt.want, tt.says)
		}
	}
}
