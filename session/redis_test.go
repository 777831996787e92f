package session_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// patience bounds every wait. Reaching it is a failure.
const patience = 20 * time.Second

// openRedis makes a store that has a connection, and closes it with the test.
func openRedis(t *testing.T, url string, c session.RedisConfig) *session.Redis {
	t.Helper()
	r, err := session.NewRedis(t.Context(), url, c)
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
	until(t, "the store answers", func() bool {
		_, err := s.Find(t.Context(), session.NewID("nobody"))
		return errors.Is(err, session.ErrNotFound)
	})
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// numbered makes prefixes that differ.
func numbered(name string) func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprint(name, n.Add(1), ":") }
}

// TestRedisStore: the Redis store keeps to the contract.
func TestRedisStore(t *testing.T) {
	server, prefix := sessiontest.StartRedis(t), numbered("t")
	sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
		c := session.RedisConfig{Prefix: prefix(), EmptyTTL: sessiontest.EmptyTTL}
		return sessiontest.Subject{Store: openRedis(t, server.URL(), c)}
	})
}

// TestGuardStore: so does a guard in front of it, while nothing is wrong.
func TestGuardStore(t *testing.T) {
	server, prefix := sessiontest.StartRedis(t), numbered("t")
	sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
		main := openRedis(t, server.URL(), session.RedisConfig{Prefix: prefix(), EmptyTTL: sessiontest.EmptyTTL})
		g := session.NewGuard(session.GuardConfig{Main: main, Spare: session.NewMemory(session.MemoryConfig{})})
		t.Cleanup(func() { _ = g.Close() })
		return sessiontest.Subject{Store: g}
	})
}

// TestRedisForeignField: a field that somebody else has put into a session's hash, with or without a name, is no value.
func TestRedisForeignField(t *testing.T) {
	server := sessiontest.StartRedis(t)
	r := openRedis(t, server.URL(), session.RedisConfig{Prefix: "odd:"})
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
