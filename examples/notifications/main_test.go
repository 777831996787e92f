package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/expeditetest"
)

const testKey = "key of the test"

func start(t *testing.T) *expeditetest.Server {
	return expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) { return setup(cfg, testKey) })
}

// post sends a request as another program does, and returns the status.
func post(s *expeditetest.Server, path, body, key string) int {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	return s.Do(r).Code
}

func next(c *expeditetest.Client) (e event) {
	c.ReceiveJSON(&e)
	return e
}

func TestAllDevices(t *testing.T) {
	t.Parallel()
	s := start(t)
	phone, laptop, bob := s.Dial("/inbox", s.As("alice")), s.Dial("/inbox", s.As("alice")), s.Dial("/inbox", s.As("bob"))
	for _, path := range []string{"/notify/alice", "/notify/bob"} {
		if got := post(s, path, `{"text":"for `+path+`"}`, testKey); got != 202 {
			t.Fatalf("%s: got %d, want 202", path, got)
		}
	}
	one, two := next(phone), next(laptop)
	if one.Text != "for /notify/alice" || one.ID == "" || one.ID != two.ID {
		t.Errorf("the devices got %+v and %+v, want the same notification", one, two)
	}
	if e := next(bob); e.Text != "for /notify/bob" {
		t.Errorf("bob got %+v", e)
	}
	phone.Send(event{Type: "read", ID: one.ID})
	if e := next(laptop); e.Type != "read" || e.ID != one.ID {
		t.Errorf("the other device got %+v, want that it was read", e)
	}
}

// TestLater: a device that comes later gets what was sent before, and what was read of it, but not what is not kept.
func TestLater(t *testing.T) {
	t.Parallel()
	s := start(t)
	post(s, "/notify/alice", `{"text":"one"}`, testKey)
	post(s, "/notify/alice?keep=no", `{"text":"now or never"}`, testKey)
	post(s, "/notify/alice", `{"text":"two"}`, testKey)
	phone := s.Dial("/inbox", s.As("alice"))
	one := next(phone)
	if two := next(phone); one.Text != "one" || two.Text != "two" {
		t.Errorf("got %+v and %+v, want one and two", one, two)
	}
	phone.Send(event{Type: "read", ID: one.ID})
	next(phone)
	post(s, "/notify/alice?keep=no", `{"text":"now"}`, testKey)
	if e := next(phone); e.Text != "now" {
		t.Errorf("a device that is connected got %+v", e)
	}
	laptop := s.Dial("/inbox", s.As("alice"))
	for _, want := range []string{"notification", "notification", "read"} {
		if e := next(laptop); e.Type != want {
			t.Errorf("the later device got %+v, want %s", e, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, tt := range []struct {
		name, body, key string
		want            int
	}{
		{"no key", `{"text":"x"}`, "", 401},
		{"another key", `{"text":"x"}`, "x", 401},
		{"no JSON", `hello`, testKey, 400},
		{"no text", `{}`, testKey, 400},
		{"too long", `{"text":"` + strings.Repeat("x", 5000) + `"}`, testKey, 400},
	} {
		if got := post(s, "/notify/alice", tt.body, tt.key); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	if res := s.Refused("/inbox?user=alice"); res.Code != 401 {
		t.Errorf("a device without a token: got %d %s, want 401", res.Code, res.Body)
	}
	c := s.Dial("/inbox", s.As("alice"))
	c.Send("hello")
	if code, reason := c.Closed(); code != 1008 {
		t.Errorf("a message that is none: got %d %q, want 1008", code, reason)
	}
	without := expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) { return setup(cfg, "") })
	if got := post(without, "/notify/alice", `{"text":"x"}`, ""); got != 503 {
		t.Errorf("a server without a key: got %d, want 503", got)
	}
}
