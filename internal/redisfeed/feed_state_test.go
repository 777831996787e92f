package redisfeed_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redisfeed"
	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
)

// machine subscribes to a feed and retains some entries.
type machine struct {
	feed  *redisfeed.Feed
	heard <-chan string

	mu    sync.Mutex
	kept  map[string]time.Time
	state redisfeed.State
	told  int
}

// newMachine returns a machine that has subscribed to a feed.
func newMachine(t *testing.T, f *redisfeed.Feed) *machine {
	t.Helper()
	m := &machine{feed: f, kept: make(map[string]time.Time)}
	heard, stop, ended := make(chan string, 10_000), make(chan struct{}), make(chan struct{})
	m.heard = heard
	go func() { // ends with the test
		defer close(ended)
		m.feed.Subscribe(stop, redisfeed.Subscriber{
			Receive: func(list [][]byte) {
				for _, e := range list {
					heard <- string(e)
				}
			},
			Retained: m.all,
			State: func(s redisfeed.State) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.state = s
				m.told++
			},
		})
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	return m
}

func (m *machine) all() iter.Seq2[[]byte, time.Time] {
	return func(yield func([]byte, time.Time) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for entry, until := range m.kept {
			if !yield([]byte(entry), until) {
				return
			}
		}
	}
}

// know makes the machine retain an entry.
func (m *machine) know(entry string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[entry] = until
}

func (m *machine) now() redisfeed.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// open opens the feed of orders.
func open(t *testing.T, url string) *redisfeed.Feed { return openNamed(t, url, "orders", 0) }

// openPatient opens the feed of orders of a Redis that may be slow.
func openPatient(t *testing.T, url string) *redisfeed.Feed {
	return openNamed(t, url, "orders", redistest.Patience)
}

// openNamed opens a feed, and closes it with the test.
func openNamed(t *testing.T, url, name string, timeout time.Duration) *redisfeed.Feed {
	t.Helper()
	f, err := redisfeed.Open(url, name, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	f.Wait(t.Context())
	return f
}

// TestFeedPermissions: the state names each missing permission, and the feed does what the others allow.
func TestFeedPermissions(t *testing.T) {
	server := redistest.Start(t)
	other := open(t, server.URL())
	hour := time.Now().Add(time.Hour)
	for i, tt := range []struct {
		name  string
		rules []string
		want  func(redisfeed.State) error // what fails
		deaf  bool
		fails error // of Publish; nil: nothing
	}{
		{"all of them", nil, nil, false, nil},
		{"no channels", []string{"resetchannels"}, func(s redisfeed.State) error { return s.Announce }, false, redisfeed.ErrUnannounced},
		{"no SUBSCRIBE", []string{"-subscribe"}, func(s redisfeed.State) error { return s.Listen }, false, nil},
		{"no PUBLISH", []string{"-publish"}, func(s redisfeed.State) error { return s.Announce }, false, redisfeed.ErrUnannounced},
		{"no GET", []string{"-get"}, func(s redisfeed.State) error { return s.Read }, false, nil},
		{"no ZCARD", []string{"-zcard"}, func(s redisfeed.State) error { return s.Read }, false, nil},
		{"no ZSCAN", []string{"-zscan"}, func(s redisfeed.State) error { return s.Read }, false, nil},
		{"no SUBSCRIBE and no ZSCAN", []string{"-zscan", "-subscribe"}, func(s redisfeed.State) error { return s.Listen }, true, nil},
		{"no scripts", []string{"-eval", "-evalsha"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no TIME", []string{"-time"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZREMRANGEBYSCORE", []string{"-zremrangebyscore"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no SET", []string{"-set"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZADD", []string{"-zadd"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZRANGE", []string{"-zrange"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no PEXPIREAT", []string{"-pexpireat"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZREMRANGEBYRANK", []string{"-zremrangebyrank"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
		{"other keys", []string{"resetkeys", "~elsewhere:*"}, func(s redisfeed.State) error { return s.Read }, false, session.ErrUnavailable},
		{"reading only", []string{"-@write"}, func(s redisfeed.State) error { return s.Store }, false, session.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, openPatient(t, server.User(fmt.Sprint("user", i), tt.rules...)))
			if tt.want == nil {
				redistest.Until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
			} else {
				redistest.Until(t, "the state says so", func() bool { return tt.want(m.now()) != nil })
				err := tt.want(m.now())
				if !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "permission") {
					t.Errorf("got %v, want an outage that names the permission", err)
				}
			}
			entry := fmt.Sprint("entry for ", tt.name)
			if err := other.Publish(t.Context(), []byte(entry), hour); err != nil {
				t.Fatal(err)
			}
			if !tt.deaf {
				redistest.Until(t, "what another machine has said is heard", func() bool {
					for len(m.heard) > 0 {
						if <-m.heard == entry {
							return true
						}
					}
					return false
				})
			}
			own := "said with " + tt.name
			err := m.feed.Publish(t.Context(), []byte(own), hour)
			if !errors.Is(err, tt.fails) || (err == nil) != (tt.fails == nil) {
				t.Errorf("Publish: got %v, want %v", err, tt.fails)
			}
			stored := server.Do("ZSCORE", "expedite:{feed:orders}", own) != ""
			if want := !errors.Is(tt.fails, session.ErrUnavailable); want && !stored {
				t.Error("an entry that could be stored is not")
			}
		})
	}
}

// TestFeedEmptied: entries that a machine retains are stored again when Redis has lost them, and others receive them.
func TestFeedEmptied(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name string
		lose func(*redistest.Server)
	}{
		{"emptied", func(s *redistest.Server) { s.Do("FLUSHALL") }},
		{"replaced by an empty one", func(s *redistest.Server) {
			s.Kill()
			s.Restart()
		}},
		{"the entries are evicted", func(s *redistest.Server) { s.Do("DEL", "expedite:{feed:orders}") }},
		{"the mark is evicted", func(s *redistest.Server) { s.Do("DEL", "expedite:{feed:orders}:mark") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			m := newMachine(t, openPatient(t, server.URL()))
			m.know("revoked", hour)
			m.know("over", time.Now().Add(-time.Second))
			redistest.Until(t, "it is stored", func() bool { return server.Do("ZCARD", "expedite:{feed:orders}") == "1" })
			tt.lose(server)
			m.feed.Check()
			redistest.Until(t, "it is stored again", func() bool { return server.Do("ZRANGE", "expedite:{feed:orders}", "0", "-1") == "revoked" })
			hear(t, follow(t, openPatient(t, server.URL())), "revoked")
			redistest.Until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
		})
	}
}

// TestFeedOwes: an entry that could not be stored is stored as soon as that is possible.
func TestFeedOwes(t *testing.T) {
	server := redistest.Start(t)
	m := newMachine(t, open(t, server.User("poor", "-zadd")))
	hour := time.Now().Add(time.Hour)
	redistest.Until(t, "it is known that nothing can be stored", func() bool { return m.now().Store != nil })
	m.know("revoked", hour)
	wantErr(t, "Publish", m.feed.Publish(t.Context(), []byte("revoked"), hour), session.ErrUnavailable)
	server.Do("ACL", "SETUSER", "poor", "+zadd")
	redistest.Until(t, "it is stored", func() bool { return server.Do("ZCARD", "expedite:{feed:orders}") == "1" })
	redistest.Until(t, "all is well", func() bool { return m.now().Err() == nil })
}

// TestFeedOfFullRedis: a server without memory still stores entries, and expired ones are removed first.
func TestFeedOfFullRedis(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	m := newMachine(t, open(t, server.URL()))
	server.Do("ZADD", "expedite:{feed:orders}", "1000", "over")
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if err := m.feed.Publish(t.Context(), []byte("revoked"), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	hear(t, m.heard, "revoked")
	if got := server.Do("ZRANGE", "expedite:{feed:orders}", "0", "-1"); got != "revoked" {
		t.Errorf("got %q", got)
	}
	m.feed.Check()
	redistest.Until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
}

// TestFeedReadOnly: on a replica, the state shows that nothing can be stored, and the entries of its primary are
// received.
func TestFeedReadOnly(t *testing.T) {
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	_, port, _ := strings.Cut(primary.Addr(), ":")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", port)
	hour := time.Now().Add(time.Hour)
	if err := open(t, primary.URL()).Publish(t.Context(), []byte("revoked"), hour); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "the replica has it", func() bool { return replica.Do("ZCARD", "expedite:{feed:orders}") == "1" })
	m := newMachine(t, open(t, replica.URL()))
	hear(t, m.heard, "revoked")
	redistest.Until(t, "the state says so", func() bool { return m.now().Current && m.now().Store != nil })
	wantErr(t, "Publish", m.feed.Publish(t.Context(), []byte("another"), hour), session.ErrUnavailable)
}

// TestFeedNotCurrent: the state is not current from the loss of Redis until the entries were read again.
func TestFeedNotCurrent(t *testing.T) {
	server := redistest.Start(t)
	m := newMachine(t, open(t, server.URL()))
	redistest.Until(t, "it is current", func() bool { return m.now().Current })
	server.Kill()
	redistest.Until(t, "it is not", func() bool { return !m.now().Current && m.now().Read != nil })
	server.Restart()
	redistest.Until(t, "it is again", func() bool { return m.now().Current && m.now().Err() == nil })
}
