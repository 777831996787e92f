package redisplane_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/backplanetest"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unlimited lets Redis keep any amount for a slow subscriber, which the largest payloads need.
func unlimited() []string { return []string{"--client-output-buffer-limit", "pubsub 0 0 0"} }

// numbered returns a function that returns a new prefix each time.
func numbered(name string) func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprint(name, n.Add(1), ":") }
}

// make returns a Backplane that is not started.
func newRedis(t *testing.T, c redisplane.Config, urls ...string) *redisplane.Redis {
	t.Helper()
	r, err := redisplane.New(urls, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// conform runs the conformance suite. The machines have several URLs in different orders.
func conform(t *testing.T, urls ...string) {
	prefix := numbered("t")
	others := slices.Clone(urls)
	slices.Reverse(others)
	open := func(t *testing.T) (a, b backplane.Backplane) {
		c := redisplane.Config{Prefix: prefix()}
		return newRedis(t, c, urls...), newRedis(t, c, others...)
	}
	backplanetest.Run(t, open)
	backplanetest.RunHistory(t, open)
}

// TestUnix: the contract is fulfilled over a Unix socket.
func TestUnix(t *testing.T) { conform(t, redistest.Start(t, unlimited()...).URL()) }

// TestTCP: the contract is fulfilled over TCP.
func TestTCP(t *testing.T) { conform(t, "redis://"+redistest.Start(t, unlimited()...).Addr()+"/3") }

// TestTLS: the contract is fulfilled over TLS, and a certificate that is not trusted is an error.
func TestTLS(t *testing.T) {
	proxy, ca := redistest.StartTLSProxy(t, redistest.Start(t, unlimited()...).Addr())
	conform(t, "rediss://"+proxy.Addr+"?ca="+ca)
	r := newRedis(t, redisplane.Config{}, "rediss://"+proxy.Addr)
	defer r.Close()
	r.Start(nil)
	redistest.Until(t, "the error says why", func() bool {
		err := r.Status().Err
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
}

// TestTwo: the contract is fulfilled with two independent servers.
func TestTwo(t *testing.T) {
	conform(t, redistest.Start(t, unlimited()...).URL(), redistest.Start(t, unlimited()...).URL())
}

// TestCluster: the contract is fulfilled in a cluster, by all its servers.
func TestCluster(t *testing.T) {
	redistest.CheckClusterClients(t)
	c := redistest.StartCluster(t, unlimited()...)
	conform(t, c.URL())
}

// TestClusterPlain: the contract is fulfilled in a cluster without sharded channels.
func TestClusterPlain(t *testing.T) {
	redistest.CheckClusterClients(t)
	c := redistest.StartCluster(t, append(unlimited(), "--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "")...)
	conform(t, c.URL())
}
