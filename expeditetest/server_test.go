package expeditetest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/expeditetest"
	"github.com/expedite-go/expedite/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything is an app that shows what a test of it can see.
func everything(cfg expedite.Config) (*expedite.App, error) {
	cfg.History = []expedite.HistoryRule{{Topics: "log", Messages: 10, For: time.Minute}}
	cfg.Presence = []expedite.PresenceRule{{Topics: "log"}}
	app := expedite.New(cfg)
	app.Handle("/echo", expedite.Handler{
		Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
	})
	app.Handle("/who", expedite.Handler{
		Session: true,
		Open: func(c *expedite.Conn) {
			var scopes []string
			if id := c.Identity(); id != nil {
				scopes = id.Scopes
			}
			m, _ := expedite.JSON(map[string]any{
				"user": c.User(), "scopes": fmt.Sprint(scopes),
				"query": c.Query().Get("q"), "session": c.Session().ID().String(), "resumed": c.Session().Resumed(),
			})
			c.Send(m)
		},
		Message: func(c *expedite.Conn, m expedite.Message) { _ = c.Close(4000, m.String()) },
	})
	app.Handle("/log", expedite.Handler{
		Auth: expedite.AuthRequired,
		Open: func(c *expedite.Conn) { _, _ = c.SubscribeFrom("log", expedite.Recover{Last: 10}) },
		Message: func(c *expedite.Conn, m expedite.Message) {
			if err := c.Publish("log", m); err != nil {
				c.Send(expedite.Text(err.Error()))
			}
		},
	})
	app.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s", r.Method, b, r.Header.Get("X-In"))
	}))
	return app, nil
}

func TestMessages(t *testing.T) {
	t.Parallel()
	c := expeditetest.Start(t, everything).Dial("/echo")
	c.Send("text")
	if got := c.Receive(); got != "text" {
		t.Errorf("got %q, want text", got)
	}
	c.Send([]byte{0, 1})
	if got := c.ReceiveBinary(); string(got) != "\x00\x01" {
		t.Errorf("got %q, want the bytes 0 and 1", got)
	}
	type point struct{ X, Y int }
	c.Send(point{1, 2})
	var p point
	if c.ReceiveJSON(&p); p != (point{1, 2}) {
		t.Errorf("got %v, want {1 2}", p)
	}
	long := strings.Repeat("x", 1<<20)
	if c.Send(long); c.Receive() != long {
		t.Error("a message of 1 MiB was changed")
	}
	c.Close()
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, everything)
	type seen struct {
		User, Scopes, Query, Session string
		Resumed                      bool
	}
	dial := func(path string, header ...http.Header) (got seen) {
		c := s.Dial(path, header...)
		c.ReceiveJSON(&got)
		c.Close()
		return got
	}
	if got := dial("/who?q=1"); got.User != "" || got.Query != "1" || got.Session == "" {
		t.Errorf("anonymous: got %+v", got)
	}
	alice := dial("/who", s.As("alice"))
	if alice.User != "alice" || alice.Resumed {
		t.Errorf("As: got %+v", alice)
	}
	if got := dial("/who?session="+alice.Session, s.As("alice")); !got.Resumed {
		t.Errorf("resumed: got %+v", got)
	}
	token := s.Token(auth.Identity{User: "bob", Scopes: []string{"a", "b"}})
	if got := dial("/who?access_token=" + token); got.User != "bob" || got.Scopes != "[a b]" {
		t.Errorf("Token: got %+v", got)
	}
	expired := s.Token(auth.Identity{User: "bob", Expiry: time.Now().Add(-time.Hour)})
	for _, tt := range []struct {
		name   string
		header http.Header
		want   int
		body   string
	}{
		{"no token", nil, 401, "missing"},
		{"expired", http.Header{"Authorization": {"Bearer " + expired}}, 401, "expired"},
		{"of another server", expeditetest.Start(t, everything).As("alice"), 401, "unknown"},
		{"a page of another host", http.Header{"Origin": {"https://evil.test"}}, 403, "origin"},
	} {
		if got := s.Refused("/log", tt.header); got.Code != tt.want || !strings.Contains(got.Body.String(), tt.body) {
			t.Errorf("%s: got %d %s, want %d with %q", tt.name, got.Code, got.Body, tt.want, tt.body)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) {
		app := expedite.New(cfg)
		app.Handle("/", expedite.Handler{
			Subprotocols: []string{"v2", "v3"},
			Open:         func(c *expedite.Conn) { c.Send(expedite.Text(c.User() + c.Subprotocol())) },
		})
		return app, nil
	})
	c := s.Dial("/", s.As("alice"), http.Header{"Sec-WebSocket-Protocol": {"v1, v2"}})
	if got := c.Receive(); got != "alicev2" {
		t.Errorf("got %q, want alice and v2", got)
	}
}

// TestTopics: publications of connections and of the test, histories, permissions, presence.
func TestTopics(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, everything)
	alice := s.Dial("/log", s.As("alice"))
	alice.Send("one")
	alice.Receive()
	if err := s.App.Publish("log", expedite.Text("two")); err != nil {
		t.Fatal(err)
	}
	alice.Receive()
	listens := s.Token(auth.Identity{User: "bob", Claims: map[string]any{"publish": []any{"other"}}})
	bob := s.Dial("/log?access_token=" + listens)
	for _, want := range []string{"one", "two"} {
		if got := bob.Receive(); got != want {
			t.Errorf("history: got %q, want %q", got, want)
		}
	}
	bob.Send("three")
	if got := bob.Receive(); got != expedite.ErrForbidden.Error() {
		t.Errorf("a publication without permission: got %q", got)
	}
	if p, err := s.App.Presence(t.Context(), "log"); err != nil || p.Count != 2 {
		t.Errorf("got %+v, %v, want 2 members", p, err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, everything)
	c := s.Dial("/who") // its first message is ignored
	c.Send("bye")
	if code, reason := c.Closed(); code != 4000 || reason != "bye" {
		t.Errorf("got %d %q, want 4000 bye", code, reason)
	}
	c = s.Dial("/echo", s.As("alice"))
	if _, err := s.App.Kick(t.Context(), expedite.Who{User: "alice"}, "out"); err != nil {
		t.Fatal(err)
	}
	if code, reason := c.Closed(); code != expedite.CloseKicked || reason != "out" {
		t.Errorf("got %d %q, want %d out", code, reason, expedite.CloseKicked)
	}
	c = s.Dial("/echo")
	c.Send(strings.Repeat("x", 1<<20+1))
	if code, _ := c.Closed(); code != ws.CloseMessageTooBig {
		t.Errorf("a message that is too long: got %d, want %d", code, ws.CloseMessageTooBig)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, everything)
	r := httptest.NewRequest("PUT", "/tea?x=1", strings.NewReader("milk"))
	r.Header.Set("X-In", "sugar")
	got := s.Do(r)
	if got.Code != 418 || got.Body.String() != "PUT milk sugar" || got.Header().Get("X-Path") != "/tea" {
		t.Errorf("got %d %s %v", got.Code, got.Body, got.Header())
	}
}

// TestFailures: whatever is wrong fails the test, with its reason.
func TestFailures(t *testing.T) {
	t.Parallel()
	echo := func(t testing.TB) *expeditetest.Client { return expeditetest.Start(t, everything).Dial("/echo") }
	for _, tt := range []struct {
		name string
		test func(t testing.TB)
		want string
	}{
		{"setup fails", func(t testing.TB) {
			expeditetest.Start(t, func(expedite.Config) (*expedite.App, error) { return nil, errors.New("no database") })
		}, "no database"},
		{"the app refuses its configuration", func(t testing.TB) {
			expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) {
				app := expedite.New(cfg)
				app.Handle("no slash", expedite.Handler{})
				return app, nil
			})
		}, "no slash"},
		{"a handshake is refused", func(t testing.TB) { expeditetest.Start(t, everything).Dial("/log") }, "401"},
		{"a handshake is not refused", func(t testing.TB) { expeditetest.Start(t, everything).Refused("/echo") }, "accepted"},
		{"the connection is closed", func(t testing.TB) {
			c := echo(t)
			c.Close()
			c.Receive()
		}, "received no message"},
		{"a closed client sends", func(t testing.TB) {
			c := echo(t)
			c.Close()
			c.Send("x")
		}, "cannot send"},
		{"binary instead of text", func(t testing.TB) {
			c := echo(t)
			c.Send([]byte("x"))
			c.Receive()
		}, "MessageBinary"},
		{"not JSON", func(t testing.TB) {
			c := echo(t)
			c.Send("x")
			c.ReceiveJSON(new(int))
		}, `"x"`},
		{"what JSON cannot encode", func(t testing.TB) { echo(t).Send(func() {}) }, "unsupported type"},
	} {
		if got := failure(t, tt.test); !strings.Contains(got, tt.want) {
			t.Errorf("%s: the test fails with %q, want %q", tt.name, got, tt.want)
		}
	}
}

// failure runs a test that must fail, and returns its reason.
func failure(t *testing.T, test func(t testing.TB)) string {
	t.Helper()
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	return f.reason
}

// failing is a test whose failure is recorded.
type failing struct {
	testing.TB
	reason   string
	cleanups []func()
}

func (f *failing) Helper()           {}
func (f *failing) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }

func (f *failing) Errorf(format string, args ...any) { f.reason += fmt.Sprintf(format, args...) }

func (f *failing) Fatal(args ...any) {
	f.reason += fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *failing) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// BenchmarkTest is a whole test: an app starts, two clients talk, and all ends.
func BenchmarkTest(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := &failing{TB: b}
		b.StartTimer()
		s := expeditetest.Start(f, everything)
		one, two := s.Dial("/log", s.As("alice")), s.Dial("/log", s.As("bob"))
		one.Send("hello")
		one.Receive()
		two.Receive()
		for i := len(f.cleanups) - 1; i >= 0; i-- {
			f.cleanups[i]()
		}
		if f.reason != "" {
			b.Fatal(f.reason)
		}
	}
}
