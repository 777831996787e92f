package sessiontest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisCluster is a Redis Cluster of a test's own.
type RedisCluster struct {
	// Nodes are its three servers. Each has a third of the slots.
	Nodes []*RedisServer
}

// StartCluster starts three servers that are a cluster, and waits until it works.
func StartCluster(t testing.TB) *RedisCluster {
	t.Helper()
	const slots = 16384
	c := &RedisCluster{}
	var bus []int
	for i := range 3 {
		bus = append(bus, freePort(t))
		c.Nodes = append(c.Nodes, StartRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
			"--cluster-port", strconv.Itoa(bus[i])))
		c.Nodes[i].Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/3), strconv.Itoa((i+1)*slots/3-1))
	}
	for i, n := range c.Nodes[1:] {
		c.Nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(n.port), strconv.Itoa(bus[i+1]))
	}
	for _, n := range c.Nodes {
		wait(t, "the cluster works", func() bool {
			info := n.Do("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:3")
		})
	}
	return c
}

// URL is that of the cluster.
func (c *RedisCluster) URL() string {
	var hosts []string
	for _, n := range c.Nodes {
		hosts = append(hosts, n.Addr())
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// RedisSentinel is a server, its replica, and three Sentinels that watch them.
type RedisSentinel struct {
	// Primary is the server that is the primary at first.
	Primary, Replica *RedisServer
	// Sentinels decide by two.
	Sentinels []*RedisServer
}

// StartSentinel starts them all, and waits until a failover can happen.
func StartSentinel(t testing.TB) *RedisSentinel {
	t.Helper()
	quick := []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
	s := &RedisSentinel{Primary: StartRedis(t, quick...)}
	s.Replica = StartRedis(t, append(quick, "--replicaof", "127.0.0.1", strconv.Itoa(s.Primary.port))...)
	wait(t, "the replica is complete", func() bool {
		return strings.Contains(s.Replica.Do("INFO", "replication"), "master_link_status:up")
	})
	for range 3 {
		s.Sentinels = append(s.Sentinels, startSentinel(t, s.Primary.port))
	}
	for _, one := range s.Sentinels {
		wait(t, "the Sentinels know each other and the replica", func() bool {
			info := one.Do("INFO", "sentinel")
			return strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1,sentinels=3")
		})
	}
	return s
}

func startSentinel(t testing.TB, port int) *RedisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "sentinel")
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{t: t, dir: dir, port: freePort(t)}
	config := filepath.Join(dir, "conf") // which it writes
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\nsentinel monitor main 127.0.0.1 %d 2\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", s.port, s.socket(), dir, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{config, "--sentinel"}
	s.begin()
	return s
}

// URL names the Sentinels.
func (s *RedisSentinel) URL() string {
	var hosts []string
	for _, one := range s.Sentinels {
		hosts = append(hosts, one.Addr())
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/main/0"
}

// wait waits until ok.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
