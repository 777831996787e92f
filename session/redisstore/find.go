package redisstore

import (
	"context"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/session"
)

// Find implements session.Store.
func (s *store) Find(ctx context.Context, ids ...session.ID) (found []session.Session, err error) {
	for batch := range slices.Chunk(ids, session.MaxBatch) {
		results, err := s.conn.DoMulti(ctx, func(b rueidis.Builder) rueidis.Commands {
			commands := make(rueidis.Commands, len(batch))
			for i, id := range batch {
				commands[i] = b.Hmget().Key(s.sessionKey(id)).Field("u", "p", "c", "s", "t", "n", "k").Build()
			}
			return commands
		})
		if err != nil {
			return found, err
		}
		for i, res := range results {
			fields, err := res.ToArray()
			switch {
			case err != nil:
				return found, redisconn.Error(err)
			case len(fields) != 7:
				return found, errReply
			case fields[2].IsNil(): // there is no such session
				continue
			}
			one, err := parseFields(batch[i], fields)
			if err != nil {
				return found, err
			}
			found = append(found, one)
		}
	}
	return found, nil
}

// List implements session.Store.
func (s *store) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	if user == "" || len(user) > session.MaxUserBytes {
		return nil, nil
	}
	t := session.TagOf(user)
	res, err := s.conn.Run(ctx, s.scripts.list.Call([]string{s.listPrefix(t) + user}, s.sessionPrefix(t),
		strconv.Itoa(page.Limit()), flag(page.IsFirst()), microsText(page.Created), page.ID.String()))
	if err != nil {
		return nil, err
	}
	reply, err := res.ToMessage()
	if err != nil {
		return nil, errReply
	}
	return parsePairs(reply)
}

// Drop implements session.Store.
func (s *store) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	err = runBatches(ctx, s, ids, func(id session.ID) redisconn.Call {
		return s.scripts.drop.Call([]string{s.sessionKey(id)}, id.String(), s.listPrefix(id.Tag()))
	}, func(id session.ID, res rueidis.RedisResult) error {
		if _, err := res.AsInt64(); err == nil {
			return nil // there was no such session
		}
		fields, err := res.ToArray()
		if err != nil {
			return redisconn.Error(err)
		}
		one, err := parseFields(id, fields)
		if err == nil {
			dropped = append(dropped, one)
		}
		return err
	})
	return dropped, err
}
