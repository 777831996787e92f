package expedite

import (
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// jwtDoor opens a door for tokens of a secret, and returns what signs them with an exp that is so far away.
func jwtDoor(t *testing.T, leeway time.Duration, cfg Config, more ...func(*App)) (d *door, sign func(exp any) string) {
	t.Helper()
	private, _, err := auth.GenerateKey("HS256")
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Auth.Mode = AuthRequired
	if cfg.Auth.Verifier, err = auth.NewJWT(auth.JWTConfig{Keys: key.KeySet(), Leeway: leeway}); err != nil {
		t.Fatal(err)
	}
	return openDoor(t, cfg, more...), func(exp any) string {
		t.Helper()
		token, err := key.Sign(map[string]any{"sub": "alice", "exp": exp})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// fromNow is the exp of a token that expires in so long.
func fromNow(d time.Duration) float64 { return float64(time.Now().Add(d).UnixMicro()) / 1e6 }

// TestLeeway: a token is good until its exp and the leeway are over: for the handshake, for tickets, for a new token of
// an open connection, and for the connection's end.
func TestLeeway(t *testing.T) {
	d, sign := jwtDoor(t, time.Minute, Config{})
	late := sign(fromNow(-10 * time.Second))
	if got := d.enter("/?access_token=" + late).ask("get x"); got != "" {
		t.Errorf("within the leeway: got %q", got)
	}
	status, ticket := d.ticket(late)
	if status != http.StatusOK {
		t.Fatalf("a ticket within the leeway: got %d", status)
	}
	g := d.enter("/?ticket=" + ticket)
	if got := g.ask("get x"); got != "" {
		t.Errorf("with the ticket: got %q", got)
	}
	if got := g.ask("refresh " + sign(fromNow(-20*time.Second))); got != "done" {
		t.Errorf("refreshed within the leeway: got %q", got)
	}
	if got := g.ask("get x"); got != "" {
		t.Errorf("after that: got %q", got)
	}
	status, ticket = d.ticket(sign(fromNow(-time.Minute + 2*time.Second)))
	if status != http.StatusOK {
		t.Fatalf("a ticket at the end of the leeway: got %d", status)
	}
	d.enter("/?access_token="+sign(fromNow(-time.Minute+2*time.Second))).wantEnd("the end of the leeway", CloseUnauthorized)
	g.ask("refresh " + sign(fromNow(-time.Minute+2*time.Second)))
	g.wantEnd("refreshed until the end of the leeway", CloseUnauthorized)
	if _, resp, err := d.dial("/?ticket="+ticket, nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a ticket whose token's leeway is over: got %v, want 401", err)
	}
	if status, _ := d.ticket(sign(fromNow(-time.Minute))); status != http.StatusUnauthorized {
		t.Errorf("a ticket after the leeway: got %d, want 401", status)
	}
}

// TestFarExpiry: a token may be good for longer than nanoseconds can count, and so may every time of a configuration.
func TestFarExpiry(t *testing.T) {
	d, sign := jwtDoor(t, math.MaxInt64, Config{HandshakeTimeout: math.MaxInt64, DrainTimeout: math.MaxInt64},
		func(a *App) {
			a.Handle("/patient", Handler{
				Open:        func(c *Conn) { c.Send(Text("{}")) },
				Message:     func(c *Conn, m Message) { c.Send(m) },
				IdleTimeout: math.MaxInt64, PingInterval: math.MaxInt64, CloseTimeout: math.MaxInt64,
			})
		})
	for _, exp := range []int64{12_000_000_000, 253_402_300_799} {
		for _, path := range []string{"/", "/patient"} {
			g := d.enter(path + "?access_token=" + sign(exp))
			for range 3 {
				if got := g.ask("subscribe x"); got != "done" && got != "subscribe x" {
					t.Errorf("exp %d at %s: got %q", exp, path, got)
				}
			}
		}
	}
	silent, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := silent.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a socket that may be silent for ever: got %v", err)
	}
	if status, _ := d.ticket(sign(int64(12_000_000_000))); status != http.StatusOK {
		t.Errorf("a ticket: got %d", status)
	}
}
