package expedite

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// attendee is a client of handlePresence. It reads everything.
type attendee struct {
	*visitor
	slot string
}

// attend connects a client.
func attend(t *testing.T, addr, target string) *attendee {
	t.Helper()
	a := &attendee{visitor: talk(t, addr, target)}
	a.slot = a.hear()
	return a
}

// attendIn connects a client to the worker of a slot.
func attendIn(t *testing.T, addr, target, slot string) *attendee {
	t.Helper()
	for range 50 {
		a := attend(t, addr, target+"&later=1")
		if a.slot == slot {
			a.write("sub")
			return a
		}
		_ = a.conn.CloseNow()
	}
	t.Fatalf("no connection to worker %s", slot)
	return nil
}

// wantEvent checks the next message.
func (a *attendee) wantEvent(want string) {
	a.t.Helper()
	if got := a.hear(); got != want {
		a.t.Fatalf("got %q, want %q", got, want)
	}
}

// who asks who is there. Events that come before the answer are dropped.
func (a *attendee) who() (p Presence) {
	a.t.Helper()
	a.write("who")
	for {
		text := a.hear()
		if !strings.HasPrefix(text, "{") {
			continue
		}
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			a.t.Fatal(err)
		}
		return p
	}
}

// wantWho waits until some members are there.
func (a *attendee) wantWho(ids ...string) {
	a.t.Helper()
	slices.Sort(ids)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		p := a.who()
		got = nil
		for _, m := range p.Members {
			got = append(got, m.ID)
		}
		if slices.Equal(got, ids) && p.Count == len(ids) {
			return
		}
	}
	a.t.Fatalf("got %q, want %q", got, ids)
}

// TestPresence: a user is in a topic once, however many connections it has in however many workers; the others are told
// when the first one comes and when the last one has gone.
func TestPresence(t *testing.T) {
	for _, workers := range []int{2, -1} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			addr, app := runApp(t, Config{Workers: workers})
			a := attend(t, addr, "/present/1?user=a&info=hello")
			a.wantEvent("join user:a 1 hello")
			b1, b2 := attend(t, addr, "/present/1?user=b"), attend(t, addr, "/present/1?user=b")
			a.wantEvent("join user:b 2 ")
			a.wantWho("user:a", "user:b")
			if p := a.who(); string(p.Members[0].Info) != "hello" || p.Members[0].User != "a" || p.Partial || p.Truncated {
				t.Errorf("got %+v", p)
			}
			b1.leave()
			b3 := attend(t, addr, "/present/1?user=b")
			b3.leave()
			c := attend(t, addr, "/present/1?user=c")
			a.wantEvent("join user:c 3 ") // nothing of b
			c.write("hi")
			a.wantEvent("hi")
			b2.leave()
			a.wantEvent("leave user:b 2 ")
			a.wantWho("user:a", "user:c")
			if workers < 0 {
				p, err := app.Presence(t.Context(), "present:1")
				if err != nil || p.Count != 2 {
					t.Errorf("got %+v, %v", p, err)
				}
			}
		})
	}
}

// leave closes the connection of a client properly.
func (a *attendee) leave() {
	a.t.Helper()
	_ = a.conn.CloseNow()
}

// TestPresenceOfAnonymousClients: clients without a user are members by their session, and without one, each connection
// is a member. The session's own id is not told.
func TestPresenceOfAnonymousClients(t *testing.T) {
	addr := run(t, Config{Workers: 2})
	a := attend(t, addr, "/present/1?user=a")
	a.wantEvent("join user:a 1 ")
	s := attend(t, addr, "/presentsession/1")
	id := s.hear()
	first := strings.Fields(a.hear())
	if first[0] != "join" || !strings.HasPrefix(first[1], "session:") || strings.Contains(first[1], id[:8]) {
		t.Fatalf("got %q, of session %s", first, id)
	}
	again := attend(t, addr, "/presentsession/1?session="+id)
	if got := again.hear(); got != id {
		t.Fatalf("the session was not resumed: got %s, want %s", got, id)
	}
	c := attend(t, addr, "/present/1")
	if got := strings.Fields(a.hear()); got[0] != "join" || !strings.HasPrefix(got[1], "conn:") || got[2] != "3" {
		t.Errorf("got %q", got)
	}
	c.leave()
	if got := strings.Fields(a.hear()); got[0] != "leave" || !strings.HasPrefix(got[1], "conn:") || got[2] != "2" {
		t.Errorf("got %q", got)
	}
}

// TestPresenceOfACrowd: beyond MaxListed, only the number of members is known.
func TestPresenceOfACrowd(t *testing.T) {
	addr := run(t, Config{Workers: 2})
	a := attend(t, addr, "/present/small?user=a")
	a.wantEvent("join user:a 1 ")
	attend(t, addr, "/present/small?user=b")
	a.wantEvent("join user:b 2 ")
	c := attend(t, addr, "/present/small?user=c")
	a.wantEvent("crowded user:c 3 ")
	d := attend(t, addr, "/present/small?user=d")
	for deadline := time.Now().Add(patience); ; {
		p := a.who()
		if p.Count == 4 && p.Truncated && len(p.Members) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v", p)
		}
	}
	d.leave()
	c.leave()
	if got := a.hear(); got != "listed user:c 2 " && got != "listed user:d 2 " { // whoever goes last
		t.Errorf("got %q", got)
	}
	a.wantWho("user:a", "user:b")
}

// TestPresenceErrors: topics without a rule have no presence, and functions of the application that panic do no harm.
func TestPresenceErrors(t *testing.T) {
	addr, app := runApp(t, Config{Workers: -1})
	for name, want := range map[string]error{"other": ErrNoPresence, "": ErrTopic, "\x00user:a": ErrTopic} {
		if _, err := app.Presence(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
	a := attend(t, addr, "/present/broken?user=a")
	a.wantWho("user:a")
	s := attend(t, addr, "/present/silent?user=a")
	s.wantWho("user:a")
	s.write("hi")
	s.wantEvent("hi")
	if _, err := New(Config{}).Presence(t.Context(), "a"); !errors.Is(err, ErrNoPresence) {
		t.Errorf("without rules: got %v", err)
	}
	for _, cfg := range []Config{
		{Presence: []PresenceRule{{}}}, {Presence: []PresenceRule{{Topics: "a", MaxListed: maxListed + 1}}}, {MaxPresence: -1},
	} {
		if err := New(cfg).Check(); err == nil {
			t.Errorf("%+v is valid", cfg)
		}
	}
}

// write sends a text.
func (a *attendee) write(text string) {
	a.t.Helper()
	if err := a.conn.Write(a.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		a.t.Fatal(err)
	}
}

// TestPresenceOfAKilledWorker: members whose worker dies have left when the grace has passed, unless they have a
// connection elsewhere.
func TestPresenceOfAKilledWorker(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 2})
	a := attendIn(t, addr, "/present/1?user=a", "1")
	a.wantEvent("join user:a 1 ")
	b := attendIn(t, addr, "/present/1?user=b", "2")
	a.wantEvent("join user:b 2 ")
	attendIn(t, addr, "/present/1?user=a", "2")
	st, err := app.role.Load().control.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.Workers[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.wantEvent("leave user:b 1 ")
	a.wantWho("user:a")
	_ = b.conn.CloseNow()
	attendIn(t, addr, "/present/1?user=b", "2")
	a.wantEvent("join user:b 2 ")
}
