package redisplane_test

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
)

// TestMigration: a topic whose slot moves is found at its new server, and other topics are not concerned.
func TestMigration(t *testing.T) {
	t.Parallel()
	c, topics := redistest.StartCluster(t), names(12)
	a, b, p := pair(t, topics, c.URL())
	for round := range 6 {
		before := b.count(topics[:1], missed)
		c.Move("expedite:0:"+topics[0], round%3)
		if round > 0 { // at first, it may be there already
			b.until("Missing is called", topics[:1], func(h *heard) bool { return h.missed > before })
		}
		b.until("it is listened to", topics[:1], func(h *heard) bool { return h.listening })
		some(b, topics)
	}
	p.settle(a, b)
	if n := b.count(topics[1:], missed); n != 0 {
		t.Errorf("Missing was called %d times for topics that have not moved", n)
	}
}

// TestClusterFailover: the topics of a server that is gone are found at its replica.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c, topics := redistest.StartCluster(t), names(12)
	replica := c.AddReplica(t, c.Nodes[0])
	a, b, p := pair(t, topics, c.URL())
	var concerned, others []string
	for _, one := range topics {
		if strings.HasSuffix(c.Nodes[0].Do("PUBSUB", "SHARDNUMSUB", "expedite:0:"+one), "\n2") {
			concerned = append(concerned, one)
		} else {
			others = append(others, one)
		}
	}
	if len(concerned) == 0 || len(others) == 0 {
		t.Fatalf("a server has topics %q, the others %q", concerned, others)
	}
	c.Nodes[0].Kill()
	for _, m := range []*machine{a, b} {
		m.until("Missing is called", concerned, func(h *heard) bool { return h.missed > 0 })
	}
	redistest.Until(t, "the replica has replaced it", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "role:master")
	})
	p.settle(a, b)
	if n := b.count(others, missed); n != 0 {
		t.Errorf("Missing was called %d times for topics of other servers", n)
	}
}
