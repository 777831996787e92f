package redisstore_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestCluster: a store in a cluster fulfills the contract, and batches may concern all of its servers.
func TestCluster(t *testing.T) {
	redistest.CheckClusterClients(t)
	cluster, prefix := redistest.StartCluster(t), numbered("c")
	t.Run("contract", func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
			c := redisstore.Config{Prefix: prefix(), EmptyTTL: emptyTTL}
			return sessiontest.Subject{Store: openRedis(t, cluster.URL(), c), EmptyTTL: emptyTTL}
		})
	})
	ctx, r := t.Context(), openRedis(t, cluster.URL(), redisstore.Config{})
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
}

// TestSentinel: the store continues with the new primary after a failover.
func TestSentinel(t *testing.T) {
	s := redistest.StartSentinel(t)
	ctx, r := t.Context(), openRedis(t, s.URL(), redisstore.Config{})
	one := attach(t, r, "alice", 1)
	redistest.Until(t, "the replica has the session", func() bool { return s.Replica.Do("DBSIZE") == s.Primary.Do("DBSIZE") })
	s.Primary.Kill()
	redistest.Until(t, "the new primary takes writes", func() bool {
		lost, err := r.Touch(ctx, []session.Ref{{ID: one.ID, Conn: 1}})
		return err == nil && len(lost) == 0
	})
}
