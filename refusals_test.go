package expedite

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

// refusals returns what the lines "client refused" of a log tell, each with the address of its client.
func refusals(t *testing.T, log string) (list []string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var l struct {
			Msg, Reason, User, Remote, Path, Error string
			Status                                 int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if l.Msg == "client refused" {
			list = append(list, fmt.Sprintf("%s %d %s %s %s", l.Reason, l.Status, l.User, l.Path, l.Error))
			if !strings.HasPrefix(l.Remote, "127.0.0.1:") {
				t.Errorf("%s: it came from %q", line, l.Remote)
			}
		}
	}
	return list
}

// TestRefusalsInTheLog checks what a line tells of each kind of refusal, and what is counted.
func TestRefusalsInTheLog(t *testing.T) {
	log := new(lockedBuffer)
	d := openDoor(t, Config{
		Auth: Auth{Mode: AuthRequired}, Logger: slog.New(slog.NewJSONHandler(log, nil)),
		Sessions: Sessions{MaxPerUser: 1, RefuseNew: true},
	}, func(a *App) {
		a.Handle("/room", Handler{Authorize: func(*http.Request, *auth.Identity) error {
			return Refuse(http.StatusUnauthorized, "no such room")
		}})
		a.Handle("/one", Handler{MaxPerUser: 1})
	})
	const alice = "access_token=alice/1/99"
	d.enter("/?" + alice)
	for _, tt := range []struct{ name, path, want string }{
		{"the application", "/room", "application 401 alice /room no such room"},
		{"a session too many", "/", "too_many_sessions 429 alice / this user has as many sessions as allowed"},
		{"a connection too many", "/one", "per_user 429 alice /one this user has as many connections as allowed"},
	} {
		before := len(log.String())
		if _, _, err := d.dial(tt.path+"?"+alice, nil); err == nil {
			t.Errorf("%s: the client was admitted", tt.name)
		}
		if got := refusals(t, log.String()[before:]); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	before := len(log.String())
	d.ticket("nonsense-s3cret")
	got := refusals(t, log.String()[before:])
	if len(got) != 1 || !strings.HasPrefix(got[0], "bad_signature 401  /ticket ") || strings.Contains(log.String(), "s3cret") {
		t.Errorf("a ticket: got %q", got)
	}
	r := d.app.role.Load().worker.Report()
	want := map[string]uint64{"application": 1, "per_user": 1, "too_many_sessions": 1, "bad_signature": 1}
	if !maps.Equal(r.AuthRefused, want) || !maps.Equal(r.Refused, map[string]uint64{"401": 2, "429": 2}) {
		t.Errorf("counted %v and %v", r.AuthRefused, r.Refused)
	}
}

// TestPanicsTellTheClient checks that the line of a callback's panic has its connection, user and path.
func TestPanicsTellTheClient(t *testing.T) {
	log := new(lockedBuffer)
	d := openDoor(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, func(a *App) {
		a.Handle("/panics", Handler{Open: func(*Conn) { panic("oh") }})
	})
	if _, _, err := d.dial("/panics?access_token=alice/s3cret/99", nil); err == nil {
		t.Error("the connection is open")
	}
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, "panic in callback") {
			continue
		}
		for _, part := range []string{" conn=", " user=alice ", " remote=127.0.0.1:", " path=/panics ", " panic=oh "} {
			if !strings.Contains(line, part) {
				t.Errorf("%q is missing in %s", part, line)
			}
		}
		if strings.Contains(line, "s3cret") {
			t.Errorf("a secret: %s", line)
		}
		return
	}
	t.Errorf("no panic in %s", log)
}
