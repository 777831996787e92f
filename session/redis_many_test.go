package session_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestRedisCluster: a cluster keeps to the contract, with sessions and batches in all slots, and its feeds are heard.
func TestRedisCluster(t *testing.T) {
	t.Cleanup(func() { // rueidis closes what it does not need any more five seconds late
		until(t, "nothing of the clients is left", func() bool {
			all := make([]byte, 1<<20)
			return !strings.Contains(string(all[:runtime.Stack(all, true)]), "clusterClient")
		})
	})
	cluster, prefix := sessiontest.StartCluster(t), numbered("c")
	t.Run("contract", func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
			c := session.RedisConfig{Prefix: prefix(), EmptyTTL: sessiontest.EmptyTTL}
			return sessiontest.Subject{Store: openRedis(t, cluster.URL(), c)}
		})
	})
	ctx, r := t.Context(), openRedis(t, cluster.URL(), session.RedisConfig{})
	var refs []session.Ref
	for i := range 200 {
		s := attach(t, r, fmt.Sprint("user", i%100), uint64(i+1))
		refs = append(refs, session.Ref{ID: s.ID, Conn: s.Place.Conn})
	}
	if lost, err := r.Touch(ctx, refs); err != nil || len(lost) != 0 {
		t.Errorf("Touch: %v lost, %v", lost, err)
	}
	if err := r.Detach(ctx, refs); err != nil {
		t.Error(err)
	}
	for i, n := range cluster.Nodes {
		if keys, err := strconv.Atoi(n.Do("DBSIZE")); err != nil || keys == 0 {
			t.Errorf("node %d has %d keys, %v", i, keys, err)
		}
	}
	f := r.Feed("orders")
	if err := f.Publish(ctx, []byte("kept"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	heard := follow(t, f)
	hear(t, heard, "kept")
	if err := f.Publish(ctx, []byte("live"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "live")
}

// TestRedisSentinel: after a failover the store goes on with the new primary, and so does a feed.
func TestRedisSentinel(t *testing.T) {
	s := sessiontest.StartSentinel(t)
	ctx, r := t.Context(), openRedis(t, s.URL(), session.RedisConfig{})
	one := attach(t, r, "alice", 1)
	f := r.Feed("orders")
	heard := follow(t, f)
	until(t, "the replica has the session", func() bool { return s.Replica.Do("DBSIZE") == s.Primary.Do("DBSIZE") })
	s.Primary.Kill()
	until(t, "the new primary takes writes", func() bool {
		lost, err := r.Touch(ctx, []session.Ref{{ID: one.ID, Conn: 1}})
		return err == nil && len(lost) == 0
	})
	if err := f.Publish(ctx, []byte("kept"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "kept")
}
