package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
)

// attach attaches a connection, or ends the test.
func attach(t *testing.T, s session.Store, user string, conn uint64) session.Session {
	t.Helper()
	a, err := s.Attach(t.Context(), session.Attach{User: user, Place: session.Place{Node: "n", Conn: conn}})
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return a.Session
}

// TestConnected: if the server is running, the store is connected when New returns.
func TestConnected(t *testing.T) {
	r, err := redisstore.New(t.Context(), redistest.Start(t).URL(), redisstore.Config{Timeout: redistest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	attach(t, r, "alice", 1)
}

// TestServerComesLater: without a server, everything fails with ErrUnavailable at once, until the server is running.
func TestServerComesLater(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	r, err := redisstore.New(t.Context(), server.URL(), redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.Attach(t.Context(), session.Attach{User: "alice"})
	wantErr(t, "Attach", err, session.ErrUnavailable)
	server.Restart()
	untilAnswers(t, r)
}

// TestRestart: after kill -9, the store has what the server has saved, and reconnects.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		kept bool
	}{
		{"without a file it is empty", nil, false},
		{"with an append-only file it has all", []string{"--appendonly", "yes", "--appendfsync", "always"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.Start(t, tt.args...)
			r := openRedis(t, server.URL(), redisstore.Config{})
			s := attach(t, r, "alice", 1)
			if err := r.Save(t.Context(), s.ID, session.Changes{"k": []byte("v")}); err != nil {
				t.Fatal(err)
			}
			server.Kill()
			_, err := r.Find(t.Context(), s.ID)
			wantErr(t, "Find while it is gone", err, session.ErrUnavailable)
			server.Restart()
			untilAnswers(t, r)
			values, err := r.Load(t.Context(), s.ID)
			if kept := err == nil && string(values["k"]) == "v"; kept != tt.kept {
				t.Errorf("got %q, %v, want it kept: %v", values, err, tt.kept)
			}
			lost, err := r.Touch(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}})
			if err != nil || (len(lost) == 0) != tt.kept {
				t.Errorf("Touch: got %v, %v", lost, err)
			}
		})
	}
}

// TestPaused: no call waits longer than its timeout, however many there are.
func TestPaused(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, server.URL(), redisstore.Config{Timeout: 200 * time.Millisecond})
	server.Stop()
	const calls = 2000
	failed := make(chan error, calls)
	for range calls {
		go func() { // ends with the call's time
			_, err := r.Find(context.Background(), session.NewID("alice"))
			failed <- err
		}()
	}
	deadline := time.After(redistest.Patience)
	for range calls {
		select {
		case err := <-failed:
			wantErr(t, "Find", err, session.ErrUnavailable)
		case <-deadline:
			t.Fatal("a call waits on and on")
		}
	}
	server.Continue()
	untilAnswers(t, r)
}

// TestFull: a server without memory creates no sessions, and keeps those that exist.
func TestFull(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	r := openRedis(t, server.URL(), redisstore.Config{})
	s := attach(t, r, "alice", 1)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	_, err := r.Attach(t.Context(), session.Attach{User: "bob"})
	wantErr(t, "a new one", err, session.ErrUnavailable)
	if list, err := r.List(t.Context(), "bob", session.Page{}); err != nil || len(list) != 0 {
		t.Errorf("bob: got %v, %v, want none", list, err)
	}
	if lost, err := r.Touch(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}}); err != nil || len(lost) != 0 {
		t.Errorf("Touch: %v, %v", lost, err)
	}
	if a, err := r.Attach(t.Context(), session.Attach{ID: s.ID, User: "alice"}); err != nil || !a.Resumed {
		t.Errorf("resume: %+v, %v", a, err)
	}
	err = r.Save(t.Context(), s.ID, session.Changes{"k": []byte("v")})
	wantErr(t, "Save", err, session.ErrUnavailable)
	if gone, err := r.Drop(t.Context(), s.ID); err != nil || len(gone) != 1 {
		t.Errorf("Drop: %v, %v", gone, err)
	}
}

// TestListLivesOn: the list of a user does not expire before the sessions in it, and is restored if it was lost.
func TestListLivesOn(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, server.URL(), redisstore.Config{Prefix: "p:"})
	s := attach(t, r, "alice", 1)
	list := strings.TrimSpace(server.Do("KEYS", "p:*:u:alice"))
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"Touch", func() error { _, err := r.Touch(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}}); return err }},
		{"Detach", func() error { return r.Detach(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}}) }},
	} {
		server.Do("DEL", list)
		if err := tt.call(); err != nil {
			t.Fatal(err)
		}
		if got, err := r.List(t.Context(), "alice", session.Page{}); err != nil || len(got) != 1 {
			t.Errorf("%s: got %v, %v, want the session", tt.name, got, err)
		}
	}
}

// TestWrongPassword: a wrong password is an outage, and no error contains it.
func TestWrongPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "rightsecret")
	r, err := redisstore.New(t.Context(), "redis://:wrongsecret@"+server.Addr(), redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	redistest.Until(t, "it says so", func() bool {
		_, err = r.Find(t.Context(), session.NewID("alice"))
		return err != nil && strings.Contains(err.Error(), "WRONGPASS")
	})
	wantErr(t, "Find", err, session.ErrUnavailable)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("got %q", err)
	}
}

// TestEviction: Touch reports sessions that the server has evicted, and Restore brings them back.
func TestEviction(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	r := openRedis(t, server.URL(), redisstore.Config{Timeout: redistest.Patience})
	var all []session.Saved
	var refs []session.Ref
	for i := range 400 {
		s := attach(t, r, fmt.Sprint("user", i), uint64(i+1))
		all = append(all, session.Saved{Session: s})
		refs = append(refs, session.Ref{ID: s.ID, Conn: s.Place.Conn})
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	redistest.Until(t, "some are gone", func() bool { return server.Do("DBSIZE") != "800" })
	server.Do("CONFIG", "SET", "maxmemory", "0")
	lost, err := r.Touch(t.Context(), refs)
	if err != nil || len(lost) == 0 {
		t.Fatalf("%d lost, %v", len(lost), err)
	}
	byID := make(map[session.ID]session.Saved)
	for _, s := range all {
		byID[s.ID] = s
	}
	var back []session.Saved
	for _, ref := range lost {
		back = append(back, byID[ref.ID])
	}
	if superseded, err := r.Restore(t.Context(), back); err != nil || len(superseded) != 0 {
		t.Errorf("Restore: %v, %v", superseded, err)
	}
	if lost, err := r.Touch(t.Context(), refs); err != nil || len(lost) != 0 {
		t.Errorf("%d lost for good, %v", len(lost), err)
	}
	for _, s := range all {
		if list, err := r.List(t.Context(), s.User, session.Page{}); err != nil || len(list) != 1 {
			t.Fatalf("%s: got %v, %v", s.User, list, err)
		}
	}
}

// TestExpires: every key expires.
func TestExpires(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, server.URL(), redisstore.Config{})
	s := attach(t, r, "alice", 1)
	attach(t, r, "", 2)
	if err := r.Detach(t.Context(), []session.Ref{{ID: s.ID, Conn: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := r.PutTicket(t.Context(), [32]byte{1}, []byte("t"), time.Minute); err != nil {
		t.Fatal(err)
	}
	keys := strings.Fields(server.Do("KEYS", "*"))
	if len(keys) != 4 { // two sessions, a list, a ticket
		t.Errorf("got %q", keys)
	}
	for _, key := range keys {
		if ttl := server.Do("PTTL", key); strings.HasPrefix(ttl, "-") {
			t.Errorf("%s: PTTL %s", key, ttl)
		}
	}
}
