package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/session"
)

// valuePrefix begins the names of hash fields that are values. Names of other fields have one letter.
const valuePrefix = "v"

// Load implements session.Store.
func (s *store) Load(ctx context.Context, id session.ID, keys ...string) (map[string][]byte, error) {
	if len(keys) > 0 {
		return s.loadKeys(ctx, id, keys)
	}
	all, err := s.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hgetall().Key(s.sessionKey(id)).Build()
	}).AsStrMap()
	switch {
	case err != nil:
		return nil, redisconn.Error(err)
	case all["c"] == "":
		return nil, session.ErrNotFound
	}
	values := make(map[string][]byte)
	for field, v := range all {
		if key, ok := strings.CutPrefix(field, valuePrefix); ok {
			values[key] = []byte(v)
		}
	}
	return values, nil
}

func (s *store) loadKeys(ctx context.Context, id session.ID, keys []string) (map[string][]byte, error) {
	fields := make([]string, 1, 1+len(keys))
	fields[0] = "c" // every session has it
	for _, key := range keys {
		fields = append(fields, valuePrefix+key)
	}
	reply, err := s.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hmget().Key(s.sessionKey(id)).Field(fields...).Build()
	}).ToArray()
	switch {
	case err != nil:
		return nil, redisconn.Error(err)
	case len(reply) != len(fields):
		return nil, errReply
	case reply[0].IsNil():
		return nil, session.ErrNotFound
	}
	values := make(map[string][]byte, len(keys))
	for i, key := range keys {
		if v, err := reply[1+i].AsBytes(); err == nil { // otherwise there is no such value
			values[key] = v
		}
	}
	return values, nil
}

// Save implements session.Store.
func (s *store) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if err := changes.Validate(); err != nil {
		return err
	}
	args := appendChanges([]string{strconv.Itoa(session.MaxValues), strconv.Itoa(session.MaxValueBytes)}, changes)
	res, err := s.conn.Run(ctx, s.scripts.save.Call([]string{s.sessionKey(id)}, args...))
	if err != nil {
		return err
	}
	switch n, err := res.AsInt64(); {
	case err != nil:
		return redisconn.Error(err)
	case n == 0:
		return session.ErrNotFound
	case n == 2:
		return fmt.Errorf("%w: more than %d values or %d bytes", session.ErrTooLarge,
			session.MaxValues, session.MaxValueBytes)
	}
	return nil
}

// appendChanges appends values as arguments of scripts: key, whether it is set, value.
func appendChanges(args []string, changes map[string][]byte) []string {
	for k, v := range changes {
		args = append(args, k, flag(v != nil), string(v))
	}
	return args
}

// PutTicket implements session.Store.
func (s *store) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	ms := session.ClampTTL(ttl).Milliseconds()
	return redisconn.Error(s.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(s.ticketKey(key)).Value(string(value)).PxMilliseconds(ms).Build()
	}).Error())
}

// TakeTicket implements session.Store.
func (s *store) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	value, err := s.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Getdel().Key(s.ticketKey(key)).Build()
	}).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, session.ErrNotFound
	}
	return value, redisconn.Error(err)
}
