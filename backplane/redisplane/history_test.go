package redisplane_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// keep is a retention that no test reaches.
func keep() backplane.Retention { return backplane.Retention{Messages: 1 << 20, For: time.Hour} }

// writer appends numbered messages, and counts those that have got their positions.
type writer struct {
	*machine
	topics []string
	next   []int
	mu     sync.Mutex
	placed []int
	errs   []error
}

func newWriter(m *machine, topics ...string) *writer {
	return &writer{machine: m, topics: topics, next: make([]int, len(topics)), placed: make([]int, len(topics))}
}

// write appends the next message of each topic.
func (w *writer) write() {
	for i, topic := range w.topics {
		n := w.next[i] + 1
		err := w.Append(topic, backplane.Append{
			Key: backplane.Key{Publisher: 7, Number: uint64(n)}, Keep: keep(), Payload: []byte(strconv.Itoa(n)),
		}, func(_ backplane.Position, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.placed[i]++
			if err != nil {
				w.errs = append(w.errs, err)
			}
		})
		if err == nil {
			w.next[i] = n
		} else if !errors.Is(err, backplane.ErrOverloaded) {
			w.t.Errorf("Append: %v", err)
		}
	}
}

// during appends messages all the time while f runs.
func (w *writer) during(f func()) {
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() { // ends with stop
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				w.write()
			}
		}
	})
	f()
	close(stop)
	ended.Wait()
}

// settle waits until all messages have their positions, and returns the errors.
func (w *writer) settle() error {
	w.t.Helper()
	redistest.Until(w.t, "all messages have their positions", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Equal(w.placed, w.next)
	})
	return errors.Join(w.errs...)
}

// read reads all that a topic has kept.
func (m *machine) read(topic string) (p backplane.Page) {
	m.t.Helper()
	redistest.Until(m.t, "the history can be read", func() bool {
		answer := make(chan error, 1)
		err := m.Read(topic, backplane.Range{Keep: keep()}, func(page backplane.Page, err error) {
			p = page
			answer <- err
		})
		if err == nil {
			err = <-answer
		}
		if err != nil && !errors.Is(err, backplane.ErrUnavailable) {
			m.t.Fatal(err)
		}
		return err == nil
	})
	return p
}

// wantAll checks that each topic has kept each message once and in order.
func (w *writer) wantAll() {
	w.t.Helper()
	if err := w.settle(); err != nil {
		w.t.Error(err)
	}
	for i, topic := range w.topics {
		p := w.read(topic)
		for k, one := range p.Entries {
			if string(one.Payload) != strconv.Itoa(k+1) || one.Offset != uint64(k+1) {
				w.t.Fatalf("%s: offset %d has message %s, want %d", topic, one.Offset, one.Payload, k+1)
			}
		}
		if len(p.Entries) != w.next[i] || p.Head != uint64(w.next[i]) {
			w.t.Errorf("%s: %d messages are kept, head %d, want %d", topic, len(p.Entries), p.Head, w.next[i])
		}
	}
}

// some waits until more messages have got their positions.
func (w *writer) some() {
	w.t.Helper()
	w.mu.Lock()
	before := slices.Clone(w.placed)
	w.mu.Unlock()
	redistest.Until(w.t, "messages get their positions", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !slices.ContainsFunc(w.placed, func(n int) bool { return n < slices.Max(before)+20 })
	})
}

// fails waits until there is an error.
func (m *machine) fails(says string) {
	m.t.Helper()
	redistest.Until(m.t, "the error says why", func() bool {
		err := m.Status().Err
		return err != nil && strings.Contains(err.Error(), says)
	})
}

// TestHistoryRestart: after kill -9, a server that saves everything has each message once, though it knows no script.
func TestHistoryRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := newWriter(start(t, redisplane.Config{}, server.URL()), names(3)...)
	w.during(func() {
		for range 3 {
			w.some()
			server.Kill()
			server.Restart()
			w.some()
			server.Do("SCRIPT", "FLUSH")
		}
		w.some()
	})
	w.wantAll()
}

// TestHistoryCut: messages are kept once, whenever the connection ends.
func TestHistoryCut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr(), 5)
	w := newWriter(start(t, redisplane.Config{}, "redis://"+proxy.Addr), names(3)...)
	w.during(func() {
		w.some()
		proxy.CutAfter(3000)
		proxy.Cut()
		redistest.Until(t, "many connections are cut", func() bool { return proxy.Cuts() > 30 })
		proxy.CutAfter(0)
		proxy.Cut()
	})
	w.wantAll()
	if s := w.Status(); s.Repeated == 0 {
		t.Errorf("got %+v", s)
	}
}

// TestHistoryFull: while the server is full, or has too few replicas, histories wait in their order, and other messages
// do not.
func TestHistoryFull(t *testing.T) {
	t.Parallel()
	for says, set := range map[string][2][]string{
		"OOM":        {{"maxmemory", "1"}, {"maxmemory", "0"}},
		"NOREPLICAS": {{"min-replicas-to-write", "1"}, {"min-replicas-to-write", "0"}},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			server, plain := redistest.Start(t), []string{"plain"}
			m := start(t, redisplane.Config{}, server.URL())
			w := newWriter(m, names(3)...)
			m.subscribe(plain...)
			p := publish(m, plain...)
			w.during(func() {
				w.some()
				server.Do(append([]string{"CONFIG", "SET"}, set[0]...)...)
				m.fails(says)
				some(m, plain)
				if p := m.read(w.topics[0]); p.Head == 0 || len(p.Entries) == 0 {
					t.Errorf("got head %d, %d messages", p.Head, len(p.Entries))
				}
				m.fails(says)
				server.Do(append([]string{"CONFIG", "SET"}, set[1]...)...)
				w.some()
			})
			w.wantAll()
			p.settle(m)
		})
	}
}

// TestHistoryFlushed: a server that has lost everything gives a new epoch, in which offsets begin anew.
func TestHistoryFlushed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := start(t, redisplane.Config{}, server.URL())
	m.healthy()
	w := newWriter(m, "t")
	w.during(w.some)
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	before := m.read("t")
	server.Do("FLUSHALL")
	w.write()
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	after := m.read("t")
	if after.Epoch == before.Epoch || after.Head != 1 || after.Begin != 0 {
		t.Errorf("got epoch %d, head %d, after epoch %d", after.Epoch, after.Head, before.Epoch)
	}
	server.Do("DEL", "expedite:history:{expedite:0:t}:m") // the half of it
	w.write()
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	half := m.read("t")
	if half.Epoch == after.Epoch || half.Head != 1 || len(half.Entries) != 1 {
		t.Errorf("without the hash: got epoch %d, head %d, %d messages", half.Epoch, half.Head, len(half.Entries))
	}
	server.Do("DEL", "expedite:history:{expedite:0:t}:s")
	w.write()
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	if p := m.read("t"); p.Epoch != half.Epoch || p.Head != 2 || len(p.Entries) != 1 {
		t.Errorf("without the stream: got epoch %d, head %d, %d messages", p.Epoch, p.Head, len(p.Entries))
	}
}

// TestHistoryExpires: the keys of a quiet topic expire.
func TestHistoryExpires(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := start(t, redisplane.Config{}, server.URL())
	m.healthy()
	placed := make(chan error, 1)
	err := m.Append("t", backplane.Append{
		Key: backplane.Key{Publisher: 1, Number: 1}, Keep: backplane.Retention{Messages: 10, For: 50 * time.Millisecond},
	}, func(_ backplane.Position, err error) { placed <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := <-placed; err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "the stream expires", func() bool {
		return server.Do("EXISTS", "expedite:history:{expedite:0:t}:s") == "0"
	})
	left, err := strconv.Atoi(server.Do("TTL", "expedite:history:{expedite:0:t}:m"))
	if err != nil || left < 24*60*60 || left > 26*60*60 {
		t.Errorf("the hash expires in %d s, %v", left, err)
	}
}

// TestHistoryPermissions: the documented permissions suffice. A message waits for those that are missing.
func TestHistoryPermissions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	few := []string{"-@all", "+@pubsub", "+eval", "+evalsha", "+hmget", "+hget", "+hset", "+hlen", "+hgetall", "+hdel", "+pexpire",
		"+xadd", "+xrange", "+del", "+time", "resetchannels", "&expedite:*", "resetkeys", "~expedite:history:*"}
	w := newWriter(start(t, redisplane.Config{}, server.User("alice", few...)), "t")
	w.subscribe("t")
	for _, command := range []string{"hmget", "xadd", "del", "time", "evalsha"} {
		server.Do("ACL", "SETUSER", "alice", "-"+command)
		server.Do("DEL", "expedite:history:{expedite:0:t}:m")
		w.write()
		w.fails("run")
		server.Do("ACL", "SETUSER", "alice", "+"+command)
		if err := w.settle(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		w.healthy()
	}
	for i := range 300 { // one publisher after the other, until old ones are forgotten
		placed := make(chan error, 1)
		one := backplane.Append{Key: backplane.Key{Publisher: uint64(1000 + i), Number: 1}, Keep: keep()}
		if err := w.Append("t", one, func(_ backplane.Position, err error) { placed <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-placed; err != nil {
			t.Fatal(err)
		}
	}
	w.read("t")
}

// TestHistoryRefused: what a server will never take is refused, and does not hold up others.
func TestHistoryRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do("SET", "expedite:history:{expedite:0:bad}:m", "of another program")
	m := start(t, redisplane.Config{}, server.URL())
	m.healthy()
	bad, good := newWriter(m, "bad"), newWriter(m, "good")
	for range 3 {
		bad.write()
		good.write()
	}
	if err := bad.settle(); !errors.Is(err, backplane.ErrRefused) || len(bad.errs) != 3 {
		t.Errorf("got %v", err)
	}
	good.wantAll()
	answer := make(chan error, 1)
	if err := m.Read("bad", backplane.Range{Keep: keep()}, func(_ backplane.Page, err error) { answer <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, backplane.ErrRefused) {
		t.Errorf("Read: got %v", err)
	}
	if s := m.Status(); s.Dropped != 3 {
		t.Errorf("got %+v", s)
	}
}

// TestHistoryUnavailable: questions to a server that is away are answered with ErrUnavailable, and messages wait.
func TestHistoryUnavailable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := start(t, redisplane.Config{}, server.URL())
	w := newWriter(m, "t")
	w.during(w.some)
	server.Kill()
	for range 100 {
		w.write()
	}
	for range 100 {
		answer := make(chan error, 1)
		err := m.Read("t", backplane.Range{Keep: keep()}, func(_ backplane.Page, err error) { answer <- err })
		if err == nil {
			err = <-answer
		}
		if !errors.Is(err, backplane.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	server.Restart()
	if err := w.settle(); err != nil {
		t.Error(err)
	}
}

// TestHistoryFailover: after a failover that loses messages, the head is lower, and a new epoch begins.
func TestHistoryFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	m := start(t, redisplane.Config{}, s.URL())
	w := newWriter(m, "t")
	for range 10 {
		w.write()
	}
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "the replica has them", func() bool {
		return s.Replica.Do("XLEN", "expedite:history:{expedite:0:t}:s") == "10"
	})
	s.Replica.Stop()
	s.Primary.Do("CLIENT", "KILL", "TYPE", "replica")
	for range 5 {
		w.write()
	}
	if err := w.settle(); err != nil {
		t.Fatal(err)
	}
	before := m.read("t")
	s.Primary.Kill()
	s.Replica.Continue()
	m.fails("")
	w.healthy()
	if epoch := m.renewed("t", 1); epoch == before.Epoch {
		t.Error("the epoch is the same")
	}
	after := m.read("t")
	if before.Head != 15 || after.Head != 10 || after.Begin != 10 {
		t.Fatalf("got head %d before and %d after, want 15 and 10", before.Head, after.Head)
	}
	w.write()
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	if p := m.read("t"); p.Head != 11 || string(p.Entries[10].Payload) != "16" {
		t.Errorf("got head %d", p.Head)
	}
}

// TestHistoryInCluster: a history follows its topic to another server of a cluster, which knows nothing of it.
func TestHistoryInCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	m := start(t, redisplane.Config{}, c.URL())
	w := newWriter(m, names(6)...)
	w.during(func() {
		w.some()
		for i := range 3 {
			c.Move("expedite:0:"+w.topics[0], i)
			w.some()
		}
	})
	if err := w.settle(); err != nil {
		t.Error(err)
	}
	if p := m.read(w.topics[0]); p.Head == 0 || p.Head > uint64(w.next[0]) {
		t.Errorf("the topic that has moved: got head %d of %d", p.Head, w.next[0])
	}
	w.topics, w.next, w.placed = w.topics[1:], w.next[1:], w.placed[1:]
	w.wantAll()
}
