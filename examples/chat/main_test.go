package main

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/expeditetest"
)

// member is a client in a room.
type member struct{ *expeditetest.Client }

// enter connects, and returns the welcome.
func enter(s *expeditetest.Server, path, user string) (member, event) {
	m := member{s.Dial(path, s.As(user))}
	return m, m.until("welcome")
}

// until receives events up to the first one of a type.
func (m member) until(kind string) (e event) {
	for e.Type != kind {
		e = event{}
		m.ReceiveJSON(&e)
	}
	return e
}

// hears receives events up to the first text, and checks it.
func (m member) hears(t *testing.T, want string) event {
	t.Helper()
	e := m.until("said")
	if got := e.User + ": " + e.Text; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	return e
}

func TestRooms(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	alice, _ := enter(s, "/chat/go", "alice")
	bob, _ := enter(s, "/chat/go", "bob")
	carol, _ := enter(s, "/chat/rust", "carol")
	if here := bob.until("here"); !slices.Contains(here.Users, "alice") {
		t.Errorf("bob sees %+v, want alice", here)
	}
	for alice.until("join").User != "bob" { // her own coming may be told, too
	}
	alice.Send(event{Text: "hello"})
	alice.hears(t, "alice: hello")
	if e := bob.hears(t, "alice: hello"); e.Count != 1 || e.Time.IsZero() {
		t.Errorf("got %+v, want the first message, and when it was said", e)
	}
	carol.Send(event{Text: "nobody else here"})
	carol.hears(t, "carol: nobody else here")
}

func TestPrivateMessages(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	alice, _ := enter(s, "/chat/go", "alice")
	phone, _ := enter(s, "/chat/go", "bob")
	laptop, _ := enter(s, "/chat/rust", "bob")
	carol, _ := enter(s, "/chat/go", "carol")
	alice.Send(event{Text: "psst", To: "bob"})
	alice.Send(event{Text: "hello"})
	phone.hears(t, "alice: psst")
	laptop.hears(t, "alice: psst")
	if e := alice.hears(t, "alice: psst"); e.To != "bob" {
		t.Errorf("got %+v, want that it is for bob", e)
	}
	carol.hears(t, "alice: hello")
}

// TestComeBack: a client that was away gets what was said meanwhile, and a new one what was said before.
func TestComeBack(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	alice, _ := enter(s, "/chat/go", "alice")
	bob, welcome := enter(s, "/chat/go", "bob")
	alice.Send(event{Text: "one"})
	bob.hears(t, "alice: one")
	bob.Close()
	for _, text := range []string{"two", "three"} {
		alice.Send(event{Text: text})
	}
	alice.hears(t, "alice: one")
	alice.hears(t, "alice: two")
	alice.hears(t, "alice: three")
	bob, _ = enter(s, "/chat/go?session="+welcome.Session, "bob")
	bob.hears(t, "alice: two")
	bob.hears(t, "alice: three")
	if e := bob.until("recovered"); e.Count != 2 || e.Text != "" {
		t.Errorf("got %+v, want 2 messages", e)
	}
	carol, _ := enter(s, "/chat/go", "carol")
	carol.hears(t, "alice: one")
	carol.hears(t, "alice: two")
}

func TestWhoTheyAre(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	if res := s.Refused("/chat/go?name=alice"); res.Code != 401 {
		t.Errorf("without a token: got %d %s, want 401", res.Code, res.Body)
	}
	listener := member{s.Dial("/chat/go?access_token=" + s.Token(auth.Identity{
		User: "bob", Claims: map[string]any{"publish": []any{}},
	}))}
	listener.Send(event{Text: "hello"})
	if e := listener.until("error"); e.Text != expedite.ErrForbidden.Error() {
		t.Errorf("a token that does not permit to publish: got %q", e.Text)
	}
}

// TestGuests: without keys for tokens, clients say who they are.
func TestGuests(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) {
		cfg.Auth.Verifier = nil
		return setup(cfg)
	})
	if e := (member{s.Dial("/chat/go?name=alice")}).until("welcome"); e.User != "alice" {
		t.Errorf("got %+v, want alice", e)
	}
	if res := s.Refused("/chat/go"); res.Code != 401 {
		t.Errorf("without a name: got %d %s, want 401", res.Code, res.Body)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	alice, _ := enter(expeditetest.Start(t, setup), "/chat/go", "alice")
	alice.Send("not JSON")
	alice.until("error")
	for range 200 { // a slow test may send more than one burst before it is too much
		alice.Send(event{Text: "hello"})
	}
	if e := alice.until("error"); e.Text != expedite.ErrRate.Error() {
		t.Errorf("got %+v, want that it is too much", e)
	}
	alice.Send(event{Text: strings.Repeat("x", 5000)})
	if code, _ := alice.Closed(); code != 1009 {
		t.Errorf("a message that is too long: got close code %d, want 1009", code)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	for path, want := range map[string]string{"/": "<title>chat", "/expedite.js": "class Expedite", "/readyz": ""} {
		if res := s.Do(httptest.NewRequest("GET", path, nil)); res.Code != 200 || !strings.Contains(res.Body.String(), want) {
			t.Errorf("%s: got %d, %.100s", path, res.Code, res.Body)
		}
	}
}
