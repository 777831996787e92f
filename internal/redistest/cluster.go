package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Cluster is a Redis Cluster for one test.
type Cluster struct {
	// Nodes are the three servers, each with a third of the slots.
	Nodes []*Server
}

// StartCluster starts a cluster of three servers, with more arguments, and waits until it works.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	const slots = 16384
	c := &Cluster{}
	var bus []int
	for i := range 3 {
		bus = append(bus, reservePort(t))
		c.Nodes = append(c.Nodes, Start(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", strconv.Itoa(bus[i]),
		}, args...)...))
		c.Nodes[i].Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/3), strconv.Itoa((i+1)*slots/3-1))
	}
	for i, n := range c.Nodes[1:] {
		c.Nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(n.port), strconv.Itoa(bus[i+1]))
	}
	for _, n := range c.Nodes {
		Until(t, "the cluster works", func() bool {
			info := n.Do("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:3")
		})
	}
	return c
}

// AddReplica starts a replica of a server of the cluster, and waits until it can replace it.
func (c *Cluster) AddReplica(t testing.TB, of *Server, args ...string) *Server {
	t.Helper()
	r := Start(t, append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", strconv.Itoa(reservePort(t)),
	}, args...)...)
	bus := strings.TrimPrefix(of.Do("CONFIG", "GET", "cluster-port"), "cluster-port\n")
	r.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(of.port), bus)
	id := of.Do("CLUSTER", "MYID")
	Until(t, "the replica knows its primary", func() bool { return r.Do("CLUSTER", "REPLICATE", id) == "OK" })
	Until(t, "the replica is complete", func() bool {
		return strings.Contains(r.Do("INFO", "replication"), "master_link_status:up")
	})
	for _, n := range c.Nodes {
		Until(t, "all servers know the replica", func() bool { return strings.Contains(n.Do("CLUSTER", "NODES"), r.Addr()) })
	}
	return r
}

// Move gives the slot of a key or channel to another server, without its keys. That one gets the latest epoch, or the
// servers would go on to tell each other of the former owner.
func (c *Cluster) Move(key string, to int) {
	c.Nodes[to].Do("CLUSTER", "BUMPEPOCH")
	slot := c.Nodes[0].Do("CLUSTER", "KEYSLOT", key)
	id := c.Nodes[to].Do("CLUSTER", "MYID")
	for i := range c.Nodes {
		c.Nodes[(to+i)%len(c.Nodes)].Do("CLUSTER", "SETSLOT", slot, "NODE", id) // the new one first
	}
}

// Moving is a slot that moves to another server with its keys, as operators do it. Both servers know of it.
type Moving struct {
	c         *Cluster
	key, slot string
	from, to  int
}

// Begin begins to move the slot of a key or channel with its keys.
func (c *Cluster) Begin(key string) *Moving {
	first := c.Nodes[0]
	m := &Moving{c: c, key: key, slot: first.Do("CLUSTER", "KEYSLOT", key)}
	for m.from < len(c.Nodes)-1 && strings.HasPrefix(c.Nodes[m.from].Do("EXISTS", key), "MOVED ") {
		m.from++
	}
	m.to = (m.from + 2) % len(c.Nodes) // in a cluster of three, Move tells the former owner next
	from, to := c.Nodes[m.from], c.Nodes[m.to]
	to.must("OK", "CLUSTER", "SETSLOT", m.slot, "IMPORTING", from.Do("CLUSTER", "MYID"))
	from.must("OK", "CLUSTER", "SETSLOT", m.slot, "MIGRATING", to.Do("CLUSTER", "MYID"))
	return m
}

// Keys returns the keys that have not moved yet, sorted.
func (m *Moving) Keys() []string {
	list := strings.Fields(m.c.Nodes[m.from].Do("CLUSTER", "GETKEYSINSLOT", m.slot, "1000"))
	slices.Sort(list)
	return list
}

// Take moves keys.
func (m *Moving) Take(keys ...string) {
	port := strconv.Itoa(m.c.Nodes[m.to].port)
	m.c.Nodes[m.from].must("OK", append([]string{"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"}, keys...)...)
}

// End gives the slot to the new server. Keys that have not moved are lost.
func (m *Moving) End() { m.c.Move(m.key, m.to) }

// CheckClusterClients fails the test if goroutines of cluster clients are left at its end: rueidis closes connections
// that it needs no more five seconds late. Call it before StartCluster.
func CheckClusterClients(t testing.TB) {
	t.Cleanup(func() {
		Until(t, "nothing of the clients is left", func() bool {
			all := make([]byte, 1<<20)
			return !strings.Contains(string(all[:runtime.Stack(all, true)]), "clusterClient")
		})
	})
}

// URL returns the URL of the cluster.
func (c *Cluster) URL() string {
	var hosts []string
	for _, n := range c.Nodes {
		hosts = append(hosts, n.Addr())
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// Sentinel is a server, its replica, and three Sentinels that monitor them.
type Sentinel struct {
	// Primary is the server that is the primary before a failover.
	Primary, Replica *Server
	// Sentinels need a majority of two for a failover.
	Sentinels []*Server
}

// StartSentinel starts all of them and waits until a failover is possible.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	quick := []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
	s := &Sentinel{Primary: Start(t, quick...)}
	s.Replica = Start(t, append(quick, "--replicaof", "127.0.0.1", strconv.Itoa(s.Primary.port))...)
	Until(t, "the replica is complete", func() bool {
		return strings.Contains(s.Replica.Do("INFO", "replication"), "master_link_status:up")
	})
	for range 3 {
		s.Sentinels = append(s.Sentinels, startSentinel(t, s.Primary.port))
	}
	for _, one := range s.Sentinels {
		Until(t, "the Sentinels know each other and the replica", func() bool {
			info := one.Do("INFO", "sentinel")
			return strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1,sentinels=3")
		})
	}
	return s
}

func startSentinel(t testing.TB, port int) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "sentinel")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, port: reservePort(t)}
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

// URL returns the URL of the Sentinels.
func (s *Sentinel) URL() string {
	var hosts []string
	for _, one := range s.Sentinels {
		hosts = append(hosts, one.Addr())
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/main/0"
}

// Until waits until ok returns true.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
