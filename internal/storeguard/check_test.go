package storeguard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/redisstore"
)

// openRedis opens a store, which may lack permissions, and closes it with the test.
func openRedis(t *testing.T, url string) session.Store {
	t.Helper()
	r, err := redisstore.New(t.Context(), url, redisstore.Config{Timeout: redistest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestCheck: a store that works passes and holds nothing afterwards; otherwise the error names the missing permission.
func TestCheck(t *testing.T) {
	if err := storeguard.Check(t.Context(), memstore.New(memstore.Config{})); err != nil {
		t.Errorf("memory: %v", err)
	}
	server := redistest.Start(t)
	if err := storeguard.Check(t.Context(), openRedis(t, server.User("all"))); err != nil {
		t.Errorf("all permissions: %v", err)
	}
	redistest.Until(t, "nothing is left", func() bool { return server.Do("DBSIZE") == "0" })
	for _, command := range []string{
		"evalsha", "time", "hmget", "hset", "hget", "hgetall", "hdel", "pexpire", "pttl", "zadd", "zrange", "zrem",
		"zrevrangebyscore", "hlen", "del", "set", "getdel",
	} {
		err := storeguard.Check(t.Context(), openRedis(t, server.User("without-"+command, "-"+command)))
		if !errors.Is(err, session.ErrUnavailable) || !(strings.Contains(err.Error(), "permission") || strings.Contains(err.Error(), "can't run")) {
			t.Errorf("without %s: got %v", command, err)
		}
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	wantErr(t, "a full server", storeguard.Check(t.Context(), openRedis(t, server.URL())), session.ErrUnavailable)
}
