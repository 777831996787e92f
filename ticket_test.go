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

	"github.com/expedite-go/expedite/auth"
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

// TestReadyzAcrossSites: a page that may connect may also read why it cannot, and no other page.
func TestReadyzAcrossSites(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{Origins: auth.Origins{"https://app.example"}}})
	for origin, want := range map[string]string{
		"": "", "https://app.example": "https://app.example", "https://evil.example": "",
		"null": "", "http://" + d.addr: "http://" + d.addr,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.addr+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if got := h.Get("Access-Control-Allow-Origin"); resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("from %q: got %s, readable by %q, want by %q", origin, resp.Status, got, want)
		}
		if isShared := h.Get("Access-Control-Expose-Headers") == "Retry-After"; isShared != (want != "") {
			t.Errorf("from %q: got %v", origin, h)
		}
	}
}

// TestTicketAcrossSites: a page of another origin gets no ticket, neither with a token of its own nor with what a
// browser adds to its requests by itself, and no leave to send a token.
func TestTicketAcrossSites(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{
		Origins: auth.Origins{"https://app.example"}, Extractor: auth.Extractor{Cookie: "token"},
	}})
	for _, tt := range []struct {
		name, method, origin, field string
		want                        int
	}{
		{"a listed origin", "POST", "https://app.example", "Authorization", 200},
		{"its preflight", "OPTIONS", "https://app.example", "", 204},
		{"another origin", "POST", "https://evil.example", "Authorization", 403},
		{"its preflight", "OPTIONS", "https://evil.example", "", 204},
		{"a cookie alone", "POST", "https://app.example", "Cookie", 401},
		{"a cookie without origin", "POST", "", "Cookie", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+d.addr+"/ticket?access_token=alice/1/99", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		switch tt.field {
		case "Authorization":
			req.Header.Set(tt.field, "Bearer alice/1/99")
		case "Cookie":
			req.Header.Set(tt.field, "token=alice/1/99")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		leave, isListed := resp.Header.Get("Access-Control-Allow-Origin"), tt.origin == "https://app.example"
		if resp.StatusCode != tt.want || (leave != "") != isListed {
			t.Errorf("%s: got %d and leave for %q, want %d", tt.name, resp.StatusCode, leave, tt.want)
		}
	}
}
