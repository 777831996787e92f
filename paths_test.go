package expedite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/control"
)

// handlePaths serves endpoints with patterns. Each answers a message with what the message names.
func handlePaths(app *App) {
	for _, inline := range []bool{false, true} {
		prefix := "/paths"
		if inline {
			prefix = "/paths-inline"
		}
		h := Handler{
			Inline: inline, Subprotocols: []string{"v2", "v1"},
			Message: func(c *Conn, m Message) { c.Send(Text(c.PathValue(m.String()))) },
		}
		app.Handle(prefix+"/fixed", h)
		app.Handle(prefix+"/{id}", h)
		app.Handle(prefix+"/{id}/", h)
		app.Handle(prefix+"/{a}/and/{b}", h)
		app.Handle(prefix+"-files/{rest...}", h)
		app.Handle(prefix+"/what/{x}", Handler{
			Inline: inline, Subprotocols: h.Subprotocols,
			Message: func(c *Conn, m Message) { c.Send(Text(c.Path() + " " + c.Subprotocol())) },
		})
	}
	app.Handle("/watched", Handler{
		Open: func(c *Conn) {
			for _, topic := range c.Query()["topic"] {
				_ = c.Subscribe(topic)
			}
		},
		Message: func(c *Conn, m Message) {
			var v struct{ Want string }
			err := m.Decode(&v)
			switch {
			case err != nil:
				c.Send(Text(err.Error()))
			case v.Want == "topics":
				c.Send(Text(fmt.Sprint(slices.Sorted(slices.Values(c.Topics())))))
			case v.Want == "context":
				if err := context.Cause(c.Context()); err != nil {
					c.Send(Text(err.Error()))
				}
				id := c.ID() // the connection may be in another process by then
				context.AfterFunc(c.Context(), func() { _ = app.Send(id, Text(context.Cause(c.Context()).Error())) })
				c.Send(Text("watching"))
			case v.Want == "close":
				ctx := c.Context()
				_ = c.Close(1000, "")
				if context.Cause(ctx) != ErrClosed {
					panic("the context of a connection that was closed is not done")
				}
			}
		},
	})
	app.Handle("/asked/{id}", Handler{
		Authorize: func(r *http.Request, _ *auth.Identity) error {
			if r.PathValue("id") != "good" || r.Pattern != "/asked/{id}" {
				return Refuse(http.StatusForbidden, "the id is "+r.PathValue("id"))
			}
			return nil
		},
		Message: func(c *Conn, m Message) { c.Send(Text(c.PathValue(m.String()))) },
	})
}

// asker is a client of one endpoint.
type asker struct {
	t    *testing.T
	conn *websocket.Conn
}

func callPath(t *testing.T, addr, path string, subprotocols ...string) *asker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+path, &websocket.DialOptions{Subprotocols: subprotocols})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &asker{t, conn}
}

// ask sends a text and checks the answer.
func (c *asker) ask(text, want string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
	_, b, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if string(b) != want {
		c.t.Errorf("%s: got %q, want %q", text, b, want)
	}
}

// TestPathValues checks the values of wildcards in both kinds of dispatch, before and after a move
// to another process.
func TestPathValues(t *testing.T) {
	for _, workers := range []int{-1, 1} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			addr, app := runApp(t, Config{Workers: workers})
			type client struct {
				*asker
				name, want string
			}
			var clients []client
			for _, prefix := range []string{"/paths", "/paths-inline"} {
				for _, tt := range []struct{ path, name, want string }{
					{"/fixed", "id", ""},
					{"/7", "id", "7"},
					{"/7", "none", ""},
					{"/a%2Fb?q=1", "id", "a/b"},
					{"/%E2%82%AC", "id", "€"},
					{"/7/", "id", "7"},
					{"-files/", "rest", ""},
					{"-files/a/b%20c/", "rest", "a/b c/"},
					{"/1/and/2", "a", "1"},
					{"/1/and/2", "b", "2"},
				} {
					clients = append(clients, client{callPath(t, addr, prefix+tt.path), tt.name, tt.want})
				}
				what := callPath(t, addr, prefix+"/what/1", "v1", "v2")
				clients = append(clients, client{what, "", prefix + "/what/{x} v1"})
				clients = append(clients, client{callPath(t, addr, prefix+"/what/1"), "", prefix + "/what/{x} "})
			}
			clients = append(clients, client{callPath(t, addr, "/asked/good"), "id", "good"})
			for _, c := range clients {
				c.ask(c.name, c.want)
			}
			if workers < 0 {
				return
			}
			for range 2 {
				res, err := app.role.Load().control.Reload(
					t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
				if err != nil || res.Moved != uint64(len(clients)) {
					t.Fatalf("reload: %+v, %v; want %d moved", res, err, len(clients))
				}
				for _, c := range clients {
					c.ask(c.name, c.want)
				}
			}
		})
	}
}

// TestPathsThatMatchNothing checks which requests App.HTTP gets, as the first and as a later one of a connection.
func TestPathsThatMatchNothing(t *testing.T) {
	addr := run(t, Config{Workers: -1})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/paths", http.StatusNotFound},
		{"/paths/", http.StatusNotFound},
		{"/paths//", http.StatusNotFound},
		{"/paths//7", http.StatusNotFound},
		{"/paths/7/8", http.StatusNotFound},
		{"/paths/%2e%2e", http.StatusNotFound},
		{"/paths/../paths/7", http.StatusNotFound},
		{"/paths-files/a//b", http.StatusNotFound},
		{"/asked/bad", http.StatusForbidden},
	} {
		if tt.status == http.StatusForbidden { // a refusal ends the connection
			conn.Close()
			if conn, err = net.Dial("tcp", addr); err != nil {
				t.Fatal(err)
			}
			r = bufio.NewReader(conn)
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", tt.path)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.path, err)
		}
		body := make([]byte, resp.ContentLength)
		_, _ = r.Read(body)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: got %d, want %d", tt.path, resp.StatusCode, tt.status)
		}
	}
	resp, err := http.Get("http://" + addr + "/paths/7") // not an upgrade, of an endpoint: RFC 9110 §15.5.22
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %d, want 426", resp.StatusCode)
	}
}

// TestConflictingPatterns checks that Run reports both patterns, and nothing starts.
func TestConflictingPatterns(t *testing.T) {
	app := New(Config{Addr: "127.0.0.1:0", Workers: -1})
	app.Handle("/{a}/b", Handler{})
	app.Handle("/a/{b}", Handler{})
	app.Handle("/x/{id", Handler{})
	app.Handle("GET /x", Handler{})
	err := app.Run(t.Context())
	for _, want := range []string{`"/{a}/b"`, `"/a/{b}"`, `"/x/{id"`, "no method"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

// TestWatchedConnection checks the topics and the context of a connection, before and after a move.
func TestWatchedConnection(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	c := callPath(t, addr, "/watched?topic=b&topic=a&topic=a&user=x")
	c.ask(`{"Want":"topics","more":1}`, "[a b]")
	c.ask(`{"Want":"topics"} {}`, "expedite: message: invalid character '{' after top-level value")
	c.ask(`{"Want":7}`, "expedite: message: json: cannot unmarshal number into Go struct field .Want of type string")
	c.ask(`{"Want":"context"}`, "watching")
	res, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
	if err != nil || res.Moved != 1 {
		t.Fatalf("reload: %+v, %v; want 1 moved", res, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, b, err := c.conn.Read(ctx); err != nil || string(b) != ErrMoved.Error() {
		t.Fatalf("got %q, %v; want ErrMoved", b, err)
	}
	c.ask(`{"Want":"topics"}`, "[a b]")
	c.ask(`{"Want":"context"}`, "watching")
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(`{"Want":"close"}`)); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.conn.Read(ctx)
	if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != websocket.StatusNormalClosure {
		t.Errorf("got %v, want close code 1000", err)
	}
}
