package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/session"
)

// Config configures a store. The zero Config uses the defaults.
type Config struct {
	// Prefix is the beginning of all keys. It must not contain braces. Empty means "expedite:".
	Prefix string
	// Timeout limits the time of each call. 0 means 1 s.
	Timeout time.Duration
	// EmptyTTL is how long an anonymous session without values lives after its connection has ended. 0 means as long as
	// other sessions.
	EmptyTTL time.Duration
}

// store is a session.Store in Redis.
type store struct {
	conn     *redisconn.Conn
	prefix   string
	emptyTTL time.Duration
	scripts  scripts
}

// New returns a store in the Redis at a URL: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path,
// redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It fails only if the URL or the
// prefix is invalid. It waits for the first attempt to connect, but no longer than Config.Timeout. Until an attempt
// succeeds, all methods of the store fail with session.ErrUnavailable.
func New(ctx context.Context, rawURL string, c Config) (session.Store, error) {
	s := &store{prefix: c.Prefix, emptyTTL: c.EmptyTTL, scripts: newScripts()}
	if strings.ContainsAny(s.prefix, "{}") {
		return nil, errors.New("session: Redis: braces in the prefix: they tell a cluster where a key is")
	}
	if s.prefix == "" {
		s.prefix = redisconn.DefaultPrefix
	}
	var err error
	if s.conn, err = redisconn.Open(rawURL, c.Timeout); err != nil {
		return nil, err
	}
	s.conn.Wait(ctx)
	return s, nil
}

// Close closes the connections.
func (s *store) Close() error { return s.conn.Close() }

// runBatches calls scripts for the items of a list, one for each, in batches. read gets the reply for an item.
func runBatches[T any](
	ctx context.Context, s *store, list []T, call func(T) redisconn.Call, read func(T, rueidis.RedisResult) error,
) error {
	for batch := range slices.Chunk(list, session.MaxBatch) {
		calls := make([]redisconn.Call, len(batch))
		for i, item := range batch {
			calls[i] = call(item)
		}
		results, err := s.conn.RunAll(ctx, calls)
		if err != nil {
			return err
		}
		for i, item := range batch {
			if err := read(item, results[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// hashTag returns the beginning of all keys of a user.
func (s *store) hashTag(t session.Tag) string { return s.prefix + "{" + fmt.Sprintf("%x", t[:]) + "}:" }

// sessionPrefix returns the key of a session without the id.
func (s *store) sessionPrefix(t session.Tag) string { return s.hashTag(t) + "s:" }

// sessionKey returns the key of a session.
func (s *store) sessionKey(id session.ID) string { return s.sessionPrefix(id.Tag()) + id.String() }

// listPrefix returns the key of the list of a user's sessions without the name of the user.
func (s *store) listPrefix(t session.Tag) string { return s.hashTag(t) + "u:" }

// listKey returns the key of the list of a session's user. An anonymous session has no list: scripts then get the key
// of the session, which is in the same slot, and do not use it.
func (s *store) listKey(id session.ID, user string) string {
	if user == "" {
		return s.sessionKey(id)
	}
	return s.listPrefix(id.Tag()) + user
}

// ticketKey returns the key of a ticket.
func (s *store) ticketKey(key [32]byte) string { return s.prefix + fmt.Sprintf("{t:%x}", key[:]) }

var _ session.Store = (*store)(nil)
