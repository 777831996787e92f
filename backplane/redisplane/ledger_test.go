package redisplane_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// say appends messages of a publisher, one after the other, and returns the position of the last.
func (m *machine) say(topic string, publisher, first, last uint64) (at backplane.Position) {
	m.t.Helper()
	for n := first; n <= last; n++ {
		answer := make(chan error, 1)
		err := m.Append(topic, backplane.Append{
			Key: backplane.Key{Publisher: publisher, Number: n}, Keep: keep(), Payload: strconv.AppendUint(nil, n, 10),
		}, func(p backplane.Position, err error) {
			at = p
			answer <- err
		})
		if err == nil {
			err = <-answer
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return at
}

// renewed waits until the machine has ended an epoch, and returns the one that topic has now.
func (m *machine) renewed(topic string, times uint64) uint64 {
	m.t.Helper()
	redistest.Until(m.t, "the epoch is ended", func() bool { return m.Status().Renewed == times })
	return m.read(topic).Epoch
}

// losing is a test of writes that a server has lost, which nobody listens to: a machine has appended messages, the server
// loses the latest ones, and another machine may append others.
type losing struct {
	t          *testing.T
	first, one *machine // of the publisher that loses messages, and another one
}

// check checks that the epoch of a topic that has lost messages ends, however many others have come since, and that others
// keep theirs.
func (l *losing) check(save, lose func()) {
	l.t.Helper()
	kept, lost, more, fresh := "kept", "lost", "more", "fresh"
	before := make(map[string]uint64)
	for _, topic := range []string{kept, lost, more, fresh} {
		before[topic] = l.one.say(topic, 2, 1, 3).Epoch
	}
	for _, topic := range []string{kept, lost, more} {
		l.first.say(topic, 1, 1, 3)
	}
	save()
	l.first.say(lost, 1, 4, 6)
	l.first.say(more, 1, 4, 6)
	l.first.say(fresh, 1, 1, 1) // the publisher was not known there
	lose()
	l.one.say(more, 2, 4, 20)
	l.one.say(fresh, 2, 4, 20)
	after := l.first.renewed(lost, 3)
	if after == before[lost] || l.first.read(more).Epoch == before[more] || l.first.read(fresh).Epoch == before[fresh] {
		l.t.Error("positions that were given twice have one epoch")
	}
	if got := l.first.read(kept).Epoch; got != before[kept] {
		l.t.Errorf("a topic that has lost nothing: got epoch %d, want %d", got, before[kept])
	}
	if p := l.first.read(lost); p.Begin != 6 || p.Head != 6 {
		l.t.Errorf("got %+v, want that it begins after offset 6", p)
	}
	if at := l.first.say(lost, 1, 7, 7); at != (backplane.Position{Epoch: after, Offset: 7}) {
		l.t.Errorf("got %v, want offset 7 in epoch %d", at, after)
	}
	if got := l.one.Status(); got.Renewed != 0 {
		l.t.Errorf("the other machine has ended %d epochs", got.Renewed)
	}
}

// TestCrashLosesWrites: a server that comes back without its latest writes, as after a crash.
func TestCrashLosesWrites(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	l := &losing{t: t, first: start(t, redisplane.Config{}, s.URL()), one: start(t, redisplane.Config{}, s.URL())}
	l.check(func() { s.Do("SAVE") }, func() {
		s.Kill()
		s.Restart()
	})
}

// TestFailoverLosesWrites: a replica that lags behind becomes the primary.
func TestFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
	link, way := redistest.StartProxy(t, s.Addr(), 64<<10), redistest.StartProxy(t, s.Addr(), 64<<10)
	host, port, _ := strings.Cut(link.Addr, ":")
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	synced := func() string {
		info := replica.Do("INFO", "replication")
		_, offset, _ := strings.Cut(info, "slave_repl_offset:")
		offset, _, _ = strings.Cut(offset, "\r")
		if !strings.Contains(info, "master_link_status:up") {
			return "down"
		}
		return offset
	}
	redistest.Until(t, "the replica is complete", func() bool { return synced() != "down" })
	url := "redis://" + way.Addr
	l := &losing{t: t, first: start(t, redisplane.Config{}, url), one: start(t, redisplane.Config{}, url)}
	l.check(func() {
		redistest.Until(t, "the replica has everything", func() bool {
			return strings.Contains(s.Do("INFO", "replication"), "master_repl_offset:"+synced())
		})
		link.Freeze()
	}, func() {
		replica.Do("REPLICAOF", "NO", "ONE")
		way.Turn(replica.Addr())
	})
}

// TestLostUnderneath: a server that loses writes while its connections stay is noticed with the next message.
func TestLostUnderneath(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	m := start(t, redisplane.Config{}, s.URL())
	before := m.say("t", 1, 1, 3)
	for _, key := range strings.Fields(s.Do("KEYS", "*history*")) {
		if s.Do("TYPE", key) == "hash" {
			s.Do("HSET", key, "o", "1", "p1", "1", "q1", "1")
		} else {
			s.Do("XTRIM", key, "MAXLEN", "0")
			s.Do("XSETID", key, "1-1")
		}
	}
	m.say("t", 1, 4, 4)
	if after := m.renewed("t", 1); after == before.Epoch {
		t.Error("the epoch is the same")
	}
}
