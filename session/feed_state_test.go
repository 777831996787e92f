package session_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// machine is one that follows a feed and must keep some entries.
type machine struct {
	feed  *session.Feed
	heard <-chan string

	mu    sync.Mutex
	kept  map[string]time.Time
	state session.FeedState
	told  int
}

// newMachine makes a machine that follows the feed of a Redis.
func newMachine(t *testing.T, r *session.Redis) *machine {
	t.Helper()
	m := &machine{feed: r.Feed("orders"), kept: make(map[string]time.Time)}
	heard, stop, ended := make(chan string, 10_000), make(chan struct{}), make(chan struct{})
	m.heard = heard
	go func() { // ends with the test
		defer close(ended)
		m.feed.Follow(stop, session.Follower{
			Heard: func(list [][]byte) {
				for _, e := range list {
					heard <- string(e)
				}
			},
			Kept: m.all,
			State: func(s session.FeedState) {
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

// know makes the machine keep an entry.
func (m *machine) know(entry string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[entry] = until
}

func (m *machine) now() session.FeedState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// limited makes a user of a server who may do everything but what the rules forbid, and returns the URL.
func limited(server *sessiontest.RedisServer, name string, rules ...string) string {
	all := append([]string{"ACL", "SETUSER", name, "reset", "on", ">pw", "~*", "&*", "+@all"}, rules...)
	if answer := server.Do(all...); answer != "OK" {
		panic(answer)
	}
	return fmt.Sprintf("redis://%s:pw@%s", name, server.Addr())
}

// open opens a store that may be of no use.
func open(t *testing.T, url string) *session.Redis {
	t.Helper()
	r, err := session.NewRedis(t.Context(), url, session.RedisConfig{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestFeedPermissions: whichever permission is missing, the state says so and names it; what can be heard is.
func TestFeedPermissions(t *testing.T) {
	server := sessiontest.StartRedis(t)
	other := openRedis(t, server.URL(), session.RedisConfig{}).Feed("orders")
	hour := time.Now().Add(time.Hour)
	for i, tt := range []struct {
		name  string
		rules []string
		want  func(session.FeedState) error // what fails
		deaf  bool
		fails error // of Publish; nil: nothing
	}{
		{"all of them", nil, nil, false, nil},
		{"no channels", []string{"resetchannels"}, func(s session.FeedState) error { return s.Announce }, false, session.ErrUnannounced},
		{"no SUBSCRIBE", []string{"-subscribe"}, func(s session.FeedState) error { return s.Listen }, false, nil},
		{"no PUBLISH", []string{"-publish"}, func(s session.FeedState) error { return s.Announce }, false, session.ErrUnannounced},
		{"no GET", []string{"-get"}, func(s session.FeedState) error { return s.Read }, false, nil},
		{"no ZCARD", []string{"-zcard"}, func(s session.FeedState) error { return s.Read }, false, nil},
		{"no ZSCAN", []string{"-zscan"}, func(s session.FeedState) error { return s.Read }, false, nil},
		{"no SUBSCRIBE and no ZSCAN", []string{"-zscan", "-subscribe"}, func(s session.FeedState) error { return s.Listen }, true, nil},
		{"no scripts", []string{"-eval", "-evalsha"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no TIME", []string{"-time"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZREMRANGEBYSCORE", []string{"-zremrangebyscore"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no SET", []string{"-set"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZADD", []string{"-zadd"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZRANGE", []string{"-zrange"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no PEXPIREAT", []string{"-pexpireat"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"no ZREMRANGEBYRANK", []string{"-zremrangebyrank"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
		{"other keys", []string{"resetkeys", "~elsewhere:*"}, func(s session.FeedState) error { return s.Read }, false, session.ErrUnavailable},
		{"reading only", []string{"-@write"}, func(s session.FeedState) error { return s.Store }, false, session.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, open(t, limited(server, fmt.Sprint("user", i), tt.rules...)))
			if tt.want == nil {
				until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
			} else {
				until(t, "the state says so", func() bool { return tt.want(m.now()) != nil })
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
				until(t, "what another machine has said is heard", func() bool {
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

// TestFeedEmptied: what a machine must keep is stored again when Redis has lost it, and others hear of it.
func TestFeedEmptied(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name string
		lose func(*sessiontest.RedisServer)
	}{
		{"emptied", func(s *sessiontest.RedisServer) { s.Do("FLUSHALL") }},
		{"replaced by an empty one", func(s *sessiontest.RedisServer) {
			s.Kill()
			s.Restart()
		}},
		{"the entries are evicted", func(s *sessiontest.RedisServer) { s.Do("DEL", "expedite:{feed:orders}") }},
		{"the mark is evicted", func(s *sessiontest.RedisServer) { s.Do("DEL", "expedite:{feed:orders}:mark") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := sessiontest.StartRedis(t)
			m := newMachine(t, open(t, server.URL()))
			m.know("revoked", hour)
			m.know("over", time.Now().Add(-time.Second))
			until(t, "it is stored", func() bool { return server.Do("ZCARD", "expedite:{feed:orders}") == "1" })
			tt.lose(server)
			m.feed.Look()
			until(t, "it is stored again", func() bool { return server.Do("ZRANGE", "expedite:{feed:orders}", "0", "-1") == "revoked" })
			hear(t, follow(t, open(t, server.URL()).Feed("orders")), "revoked")
			until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
		})
	}
}

// TestFeedOwes: what could not be stored is, as soon as it can be.
func TestFeedOwes(t *testing.T) {
	server := sessiontest.StartRedis(t)
	m := newMachine(t, openRedis(t, limited(server, "poor", "-zadd"), session.RedisConfig{}))
	hour := time.Now().Add(time.Hour)
	until(t, "it is known that nothing can be stored", func() bool { return m.now().Store != nil })
	m.know("revoked", hour)
	wantErr(t, "Publish", m.feed.Publish(t.Context(), []byte("revoked"), hour), session.ErrUnavailable)
	server.Do("ACL", "SETUSER", "poor", "+zadd")
	until(t, "it is stored", func() bool { return server.Do("ZCARD", "expedite:{feed:orders}") == "1" })
	until(t, "all is well", func() bool { return m.now().Err() == nil })
}

// TestFeedOfFullRedis: a server that takes nothing more takes entries all the same, and those that are over go first.
func TestFeedOfFullRedis(t *testing.T) {
	server := sessiontest.StartRedis(t, "--maxmemory-policy", "noeviction")
	m := newMachine(t, openRedis(t, server.URL(), session.RedisConfig{}))
	server.Do("ZADD", "expedite:{feed:orders}", "1000", "over")
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if err := m.feed.Publish(t.Context(), []byte("revoked"), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	hear(t, m.heard, "revoked")
	if got := server.Do("ZRANGE", "expedite:{feed:orders}", "0", "-1"); got != "revoked" {
		t.Errorf("got %q", got)
	}
	m.feed.Look()
	until(t, "all is well", func() bool { return m.now().Current && m.now().Err() == nil })
}

// TestFeedReadOnly: a replica takes nothing, and says so; what its primary has is heard.
func TestFeedReadOnly(t *testing.T) {
	primary := sessiontest.StartRedis(t, "--repl-diskless-sync-delay", "0")
	_, port, _ := strings.Cut(primary.Addr(), ":")
	replica := sessiontest.StartRedis(t, "--replicaof", "127.0.0.1", port)
	hour := time.Now().Add(time.Hour)
	if err := openRedis(t, primary.URL(), session.RedisConfig{}).Feed("orders").Publish(t.Context(), []byte("revoked"), hour); err != nil {
		t.Fatal(err)
	}
	until(t, "the replica has it", func() bool { return replica.Do("ZCARD", "expedite:{feed:orders}") == "1" })
	m := newMachine(t, openRedis(t, replica.URL(), session.RedisConfig{}))
	hear(t, m.heard, "revoked")
	until(t, "the state says so", func() bool { return m.now().Current && m.now().Store != nil })
	wantErr(t, "Publish", m.feed.Publish(t.Context(), []byte("another"), hour), session.ErrUnavailable)
}

// TestFeedNotCurrent: from the loss of Redis until what is kept was read again, the state says so.
func TestFeedNotCurrent(t *testing.T) {
	server := sessiontest.StartRedis(t)
	m := newMachine(t, openRedis(t, server.URL(), session.RedisConfig{}))
	until(t, "it is current", func() bool { return m.now().Current })
	server.Kill()
	until(t, "it is not", func() bool { return !m.now().Current && m.now().Read != nil })
	server.Restart()
	until(t, "it is again", func() bool { return m.now().Current && m.now().Err() == nil })
}

// TestCheck: a store that does all that sessions need passes, and leaves nothing; otherwise the error names what is
// missing.
func TestCheck(t *testing.T) {
	if err := session.Check(t.Context(), session.NewMemory(session.MemoryConfig{})); err != nil {
		t.Errorf("memory: %v", err)
	}
	server := sessiontest.StartRedis(t)
	if err := session.Check(t.Context(), openRedis(t, limited(server, "all"), session.RedisConfig{})); err != nil {
		t.Errorf("all permissions: %v", err)
	}
	until(t, "nothing is left", func() bool { return server.Do("DBSIZE") == "0" })
	for _, command := range []string{
		"evalsha", "time", "hmget", "hset", "hget", "hgetall", "hdel", "pexpire", "pttl", "zadd", "zrange", "zrem",
		"zrevrangebyscore", "hlen", "del", "set", "getdel",
	} {
		err := session.Check(t.Context(), open(t, limited(server, "without-"+command, "-"+command)))
		if !errors.Is(err, session.ErrUnavailable) || !(strings.Contains(err.Error(), "permission") || strings.Contains(err.Error(), "can't run")) {
			t.Errorf("without %s: got %v", command, err)
		}
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	wantErr(t, "a full server", session.Check(t.Context(), openRedis(t, server.URL(), session.RedisConfig{})), session.ErrUnavailable)
}
