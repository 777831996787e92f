package redisplane_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// pair starts two machines, of which both listen to the topics, and traffic from one of them.
func pair(t *testing.T, topics []string, urls ...string) (a, b *machine, p *traffic) {
	t.Helper()
	a, b = start(t, redisplane.Config{}, urls...), start(t, redisplane.Config{}, urls...)
	a.subscribe(topics...)
	b.subscribe(topics...)
	p = publish(a, topics...)
	some(b, topics)
	return a, b, p
}

// some waits until more messages of all topics arrive.
func some(m *machine, topics []string) {
	m.t.Helper()
	for _, one := range topics {
		before := m.count([]string{one}, func(h *heard) int { return h.messages })
		m.until("messages arrive", []string{one}, func(h *heard) bool { return h.messages >= before+20 })
	}
}

// TestRestart: kill -9 of the server loses messages that Missing tells of, and no others.
func TestRestart(t *testing.T) {
	t.Parallel()
	server, topics := redistest.Start(t), names(5)
	a, b, p := pair(t, topics, server.URL())
	for range 3 {
		before := b.count(topics, missed)
		server.Kill()
		b.until("Missing is called", topics, func(h *heard) bool { return !h.listening })
		server.Restart()
		b.until("they are listened to", topics, func(h *heard) bool { return h.listening })
		some(b, topics)
		if got := b.count(topics, missed) - before; got != len(topics) {
			t.Errorf("Missing was called for %d topics, want %d", got, len(topics))
		}
	}
	p.settle(a, b)
	if s := b.Status(); s.Interrupted != 3 {
		t.Errorf("got %+v, want 3 interruptions", s)
	}
}

// TestServerComesLater: what was published before the server is running is sent when it is.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	a := start(t, redisplane.Config{}, server.URL())
	a.Subscribe("t")
	a.Subscribe("never")
	a.Unsubscribe("never")
	redistest.Until(t, "the error says why", func() bool {
		err := a.Status().Err
		return err != nil && strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), "refused")
	})
	if err := a.Publish("t", []byte("1")); err != nil {
		t.Error(err)
	}
	server.Restart()
	a.healthy()
	a.subscribe("t")
	if s := a.Status(); s.Repeated != 0 || s.Published != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestSilent: a server that is silent is noticed, and messages wait until it is not.
func TestSilent(t *testing.T) {
	t.Parallel()
	server, topics := redistest.Start(t), names(2)
	a, b, p := pair(t, topics, server.URL())
	server.Stop()
	for _, m := range []*machine{a, b} {
		m.until("Missing is called", topics, func(h *heard) bool { return !h.listening })
		redistest.Until(t, "there is an error", func() bool { return m.Status().Err != nil })
	}
	server.Continue()
	p.settle(a, b)
}

// TestReplica: a server that becomes a replica is not used, until it is the primary again.
func TestReplica(t *testing.T) {
	t.Parallel()
	server, other, topics := redistest.Start(t), redistest.Start(t), names(2)
	a, b, p := pair(t, topics, server.URL())
	host, port, _ := strings.Cut(other.Addr(), ":")
	server.Do("REPLICAOF", host, port)
	for _, m := range []*machine{a, b} {
		m.until("Missing is called", topics, func(h *heard) bool { return !h.listening })
		redistest.Until(t, "the error says why", func() bool {
			err := m.Status().Err
			return err != nil && strings.Contains(err.Error(), "replica")
		})
	}
	server.Do("REPLICAOF", "NO", "ONE")
	p.settle(a, b)
}

// TestFailover: after a failover, both connections are those of the new primary.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(s *redistest.Server){
		"killed": (*redistest.Server).Kill,
		"silent": (*redistest.Server).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, topics := redistest.StartSentinel(t), names(3)
			a, b, p := pair(t, topics, s.URL())
			fail(s.Primary)
			for _, m := range []*machine{a, b} {
				m.until("Missing is called", topics, func(h *heard) bool { return h.missed > 0 })
				m.until("they are listened to", topics, func(h *heard) bool { return h.listening })
				some(m, topics)
			}
			p.settle(a, b)
			if n := s.Replica.Do("PUBSUB", "NUMSUB", "expedite:0:"+topics[0]); !strings.HasSuffix(n, "\n2") {
				t.Errorf("the new primary has subscribers %q, want 2", n)
			}
		})
	}
}

// TestTwoServers: the end of one of two servers concerns its own topics only.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	one, two, topics := redistest.Start(t), redistest.Start(t), names(20)
	a, b, p := pair(t, topics, one.URL(), two.URL())
	c := start(t, redisplane.Config{}, two.URL(), one.URL()) // the order does not matter
	c.subscribe(topics...)
	var mine, others []string
	for _, name := range topics {
		if strings.HasSuffix(one.Do("PUBSUB", "NUMSUB", "expedite:0:"+name), "\n3") {
			mine = append(mine, name)
		} else {
			others = append(others, name)
		}
	}
	if len(mine) == 0 || len(others) == 0 {
		t.Fatalf("one server has %d topics, the other %d", len(mine), len(others))
	}
	one.Kill()
	for _, m := range []*machine{a, b, c} {
		m.until("Missing is called", mine, func(h *heard) bool { return h.missed == 1 })
		some(m, others)
	}
	one.Restart()
	p.settle(a, b, c)
	if n := b.count(others, missed) + c.count(others, missed); n != 0 {
		t.Errorf("Missing was called %d times for topics of the other server", n)
	}
}

// TestSlowReceiver: when Redis ends the connection of a slow machine, Missing tells of it.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 1")
	a, b := start(t, redisplane.Config{}, server.URL()), start(t, redisplane.Config{}, server.URL())
	b.subscribe("t")
	gate := make(chan struct{})
	b.mu.Lock()
	b.gate = gate
	b.mu.Unlock()
	payload := []byte("1 " + strings.Repeat("x", 10_000))
	redistest.Until(t, "Redis ends the connection", func() bool {
		for range 100 {
			if err := a.Publish("t", payload); err != nil && !errors.Is(err, backplane.ErrOverloaded) {
				t.Error(err)
			}
		}
		return strings.HasSuffix(server.Do("PUBSUB", "NUMSUB", "expedite:0:t"), "\n0")
	})
	a.healthy()
	close(gate)
	b.until("Missing is called", []string{"t"}, func(h *heard) bool { return h.missed > 0 })
	b.until("it is listened to", []string{"t"}, func(h *heard) bool { return h.listening })
	if err := a.Publish("t", []byte("2")); err != nil {
		t.Error(err)
	}
	b.until("a message arrives", []string{"t"}, func(h *heard) bool { return h.largest == 2 })
}

// TestQueue: a full queue refuses messages, and keeps those that it has.
func TestQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	url := server.User("alice")
	a, b := start(t, redisplane.Config{QueueMessages: 100}, url), start(t, redisplane.Config{}, server.URL())
	b.subscribe("t")
	a.healthy()
	server.Do("ACL", "SETUSER", "alice", "resetpass", ">hunter2")
	server.Do("CLIENT", "KILL", "USER", "alice")
	redistest.Until(t, "the error says why", func() bool {
		err := a.Status().Err
		return err != nil && strings.Contains(err.Error(), "WRONGPASS")
	})
	if text := a.Status().Err.Error(); strings.Contains(text, "pw") || strings.Contains(text, "hunter2") {
		t.Errorf("the error tells a password: %s", text)
	}
	p := &traffic{from: a, topics: []string{"t"}, next: make([]int, 1), stop: make(chan struct{})}
	for range 150 {
		p.send(0)
	}
	if s := a.Status(); p.next[0] != 100 || s.Refused != 50 || s.Queued == 0 {
		t.Errorf("%d messages are taken, want 100: %+v", p.next[0], s)
	}
	server.Do("ACL", "SETUSER", "alice", "resetpass", ">pw")
	b.until("all messages arrive", []string{"t"}, func(h *heard) bool { return h.latest == 100 && h.messages == 100 })
	p.settle(b)
}

// TestQueueBytes: the bytes of a queue are limited, and an empty one takes any message.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	a := start(t, redisplane.Config{QueueBytes: 1000}, server.URL())
	if err := a.Publish("t", make([]byte, 5000)); err != nil {
		t.Error(err)
	}
	if err := a.Publish("t", nil); !errors.Is(err, backplane.ErrOverloaded) {
		t.Errorf("got %v, want ErrOverloaded", err)
	}
}

// TestPermission: a channel that a user may not use does not hold up others.
func TestPermission(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := start(t, redisplane.Config{}, server.User("alice", "resetchannels", "&expedite:0:ok*"))
	a.Subscribe("ok1", "bad1", "ok2", "bad2")
	a.until("what is permitted is listened to", []string{"ok1", "ok2"}, func(h *heard) bool { return h.listening })
	redistest.Until(t, "the error says why", func() bool {
		err := a.Status().Err
		return err != nil && strings.Contains(err.Error(), "NOPERM")
	})
	for _, one := range []string{"ok1", "bad1", "bad2", "ok1"} {
		if err := a.Publish(one, []byte("1")); err != nil {
			t.Error(err)
		}
	}
	a.until("messages arrive", []string{"ok1"}, func(h *heard) bool { return h.messages == 2 })
	redistest.Until(t, "two messages are dropped", func() bool { return a.Status().Dropped == 2 })
	server.Do("ACL", "SETUSER", "alice", "&*")
	a.subscribe("bad1", "bad2")
	if err := a.Publish("bad1", []byte("1")); err != nil {
		t.Error(err)
	}
	a.until("a message arrives", []string{"bad1"}, func(h *heard) bool { return h.messages == 1 })
}

// TestServerRefusesSize: a message at which the server ends the connection is dropped, and others pass.
func TestServerRefusesSize(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--proto-max-bulk-len", "1mb")
	a := start(t, redisplane.Config{}, server.URL())
	a.subscribe("t")
	for _, payload := range [][]byte{[]byte("1"), make([]byte, 8<<20), []byte("2")} {
		if err := a.Publish("t", payload); err != nil {
			t.Error(err)
		}
	}
	a.until("the last message arrives", []string{"t"}, func(h *heard) bool { return h.largest == 2 })
	if s := a.Status(); s.Dropped != 1 || s.Err == nil {
		t.Errorf("got %+v, want one dropped, and why", s)
	}
}

// TestProxy: answers may come in pieces of any size, and end anywhere.
func TestProxy(t *testing.T) {
	t.Parallel()
	server, topics := redistest.Start(t), names(3)
	proxy := redistest.StartProxy(t, server.Addr(), 1)
	a, b, p := pair(t, topics, "redis://"+proxy.Addr)
	proxy.CutAfter(2000)
	proxy.Cut()
	redistest.Until(t, "many connections are cut", func() bool { return proxy.Cuts() > 60 })
	proxy.CutAfter(0)
	proxy.Cut()
	p.settle(a, b)
	if s := a.Status(); s.Repeated == 0 || s.Interrupted == 0 {
		t.Errorf("got %+v", s)
	}
}

// TestDeadlyMessage: a large message at which the connection always ends without an answer is dropped in the end.
func TestDeadlyMessage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr(), 64<<10)
	a, b := start(t, redisplane.Config{}, "redis://"+proxy.Addr), start(t, redisplane.Config{}, server.URL())
	b.subscribe("t")
	a.healthy()
	proxy.CutOver(500_000)
	for _, payload := range [][]byte{[]byte("1"), make([]byte, 2<<20), []byte("2")} {
		if err := a.Publish("t", payload); err != nil {
			t.Error(err)
		}
	}
	b.until("the last message arrives", []string{"t"}, func(h *heard) bool { return h.largest == 2 })
	if s := a.Status(); s.Dropped != 1 || s.Err == nil {
		t.Errorf("got %+v, want one dropped, and why", s)
	}
}

// TestAttendanceOfOneServer: while one of two servers is away, the attendances and members of the other one go on.
func TestAttendanceOfOneServer(t *testing.T) {
	t.Parallel()
	up, down := redistest.Start(t), redistest.Start(t)
	m := start(t, redisplane.Config{}, up.URL(), down.URL())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	topics, ids := make([]string, m.Parts()), make([]uint64, m.Parts())
	for _, topic := range names(20) {
		topics[m.Part(topic)] = topic
	}
	for part := range ids {
		redistest.Until(t, "the server answers", func() (done bool) {
			var err error
			ids[part], err = m.Attend(ctx, part, time.Minute)
			return err == nil
		})
	}
	down.Kill()
	change := func(part int, id uint64) error {
		_, err := m.Change(ctx, id, topics[part], backplane.Change{Add: []backplane.Member{{ID: "x"}}})
		return err
	}
	for part, away := range []bool{false, true} {
		_, errAttend := m.Attend(ctx, part, time.Minute)
		_, errReap := m.Reap(ctx, part)
		_, errMembers := m.Members(ctx, topics[part], 10)
		for what, err := range map[string]error{
			"Attend": errAttend, "Reap": errReap, "Members": errMembers, "Change": change(part, ids[part]),
			"Extend": m.Extend(ctx, part, ids[part], time.Minute), "Retire": m.Retire(ctx, part, ids[part]),
		} {
			if away != errors.Is(err, backplane.ErrUnavailable) || !away && err != nil {
				t.Errorf("server %d, %s: got %v, away %t", part, what, err, away)
			}
			if away && (strings.Count(err.Error(), "backplane:") != 1 || strings.Contains(err.Error(), "session")) {
				t.Errorf("%s: the error names packages: %v", what, err)
			}
		}
	}
	if n := up.Do("ZCARD", "expedite:presence:leases"); n != "1" {
		t.Errorf("%s attendances, want 1", n)
	}
	if _, err := m.Attend(ctx, 2, time.Minute); !errors.Is(err, backplane.ErrRefused) {
		t.Errorf("got %v, want that there is no third server", err)
	}
}

// TestNoPassword: who has given no password is told where to put it, by messages and by presence.
func TestNoPassword(t *testing.T) {
	t.Parallel()
	m := start(t, redisplane.Config{}, "redis://"+redistest.Start(t, "--requirepass", "pw").Addr())
	want := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "--redis-file") && strings.Count(err.Error(), "backplane:") == 1
	}
	redistest.Until(t, "the status says why", func() bool { return want(m.Status().Err) })
	if _, err := m.Attend(t.Context(), 0, time.Minute); !want(err) {
		t.Errorf("got %v, want what to do", err)
	}
}
