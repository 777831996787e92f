package redisstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

const emptyTTL = 3 * time.Second

// openRedis returns a store that is connected, and closes it with the test.
func openRedis(t *testing.T, url string, c redisstore.Config) session.Store {
	t.Helper()
	r, err := redisstore.New(t.Context(), url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	untilAnswers(t, r)
	return r
}

// untilAnswers waits until a store answers.
func untilAnswers(t *testing.T, s session.Store) {
	t.Helper()
	redistest.Until(t, "the store answers", func() bool {
		_, err := s.Find(t.Context(), session.NewID("nobody"))
		return err == nil
	})
}

// numbered returns a function that returns a new prefix each time.
func numbered(name string) func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprint(name, n.Add(1), ":") }
}

// TestStore: the store fulfills the contract.
func TestStore(t *testing.T) {
	server, prefix := redistest.Start(t), numbered("t")
	sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
		c := redisstore.Config{Prefix: prefix(), EmptyTTL: emptyTTL}
		return sessiontest.Subject{Store: openRedis(t, server.URL(), c), EmptyTTL: emptyTTL}
	})
}

// TestForeignField: a field of a session's hash that another program has set is not a value.
func TestForeignField(t *testing.T) {
	server := redistest.Start(t)
	r := openRedis(t, server.URL(), redisstore.Config{Prefix: "odd:"})
	a, err := r.Attach(t.Context(), session.Attach{User: "alice", Place: session.Place{Node: "n", Conn: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Save(t.Context(), a.Session.ID, session.Changes{"x": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	server.Do("EVAL", `for _, k in ipairs(redis.call('KEYS', 'odd:*')) do
		if redis.call('TYPE', k).ok == 'hash' then redis.call('HSET', k, '', 'y', 'other', 'z') end
	end return 1`, "0")
	values, err := r.Load(t.Context(), a.Session.ID)
	if err != nil || len(values) != 1 || string(values["x"]) != "1" {
		t.Errorf("got %q, %v, want x only", values, err)
	}
}

// TestPrefix: a prefix with braces is refused, as it would tell a cluster where a key is.
func TestPrefix(t *testing.T) {
	if _, err := redisstore.New(t.Context(), "redis://h", redisstore.Config{Prefix: "a{b}"}); err == nil {
		t.Error("a prefix with braces is taken")
	}
}
