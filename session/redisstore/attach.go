package redisstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Attach implements session.Store.
func (s *store) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	fresh := session.NewID(a.User)
	wanted := a.ID
	if !wanted.MayBelongTo(a.User) {
		wanted = session.ID{}
	}
	if a.User == "" && !wanted.IsZero() { // the fresh session is in another slot: one script cannot use both
		done, found, err := s.attach(ctx, a, wanted, session.ID{})
		if found || err != nil {
			return done, err
		}
		wanted = session.ID{}
	}
	done, found, err := s.attach(ctx, a, wanted, fresh)
	if err == nil && !found {
		err = errReply
	}
	return done, err
}

// attach resumes the wanted session if there is one, or creates the fresh one if that is not zero. It reports whether
// it has done one of the two.
func (s *store) attach(
	ctx context.Context, a session.Attach, wanted, fresh session.ID,
) (done session.Attached, found bool, err error) {
	text := func(id session.ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	first, second := wanted, fresh
	if wanted.IsZero() {
		first = fresh
	}
	if fresh.IsZero() {
		second = wanted
	}
	keys := []string{s.sessionKey(first), s.sessionKey(second), s.listKey(second, a.User)}
	args := appendArgs([]string{s.sessionPrefix(second.Tag()), a.User, text(wanted), text(fresh)}, a)
	res, err := s.conn.Run(ctx, s.scripts.attach.Call(keys, args...))
	if err != nil {
		return done, false, err
	}
	if n, err := res.AsInt64(); err == nil {
		if n == 1 {
			return done, false, session.ErrTooManySessions
		}
		return done, false, nil
	}
	reply, err := res.ToArray()
	if err != nil || len(reply) != 4 {
		return done, false, errReply
	}
	if done.Session, err = parseEntry(reply[0], reply[2]); err != nil {
		return done, false, err
	}
	done.Resumed, done.Pending = isSet(reply[1]), isSet(reply[3])
	return done, true, nil
}

// appendArgs appends the arguments that the scripts of Attach and Claim have after the ids.
func appendArgs(args []string, a session.Attach) []string {
	return append(args, string(sessionwire.AppendParams(nil, a.Params)), flag(a.Params != nil), a.Place.Node,
		strconv.FormatUint(a.Place.Conn, 10), millisText(a.Policy.Lifetime()), strconv.Itoa(max(a.Policy.MaxPerUser, 0)),
		flag(a.Policy.Refuse), strconv.FormatInt(a.Policy.Stale.Microseconds(), 10))
}

// Claim implements session.Store.
func (s *store) Claim(ctx context.Context, a session.Attach) (done session.Attached, err error) {
	if err := a.Validate(); err != nil {
		return done, err
	}
	if !a.ID.MayBelongTo(a.User) {
		return done, session.ErrNotFound
	}
	keys := []string{s.sessionKey(a.ID), s.listKey(a.ID, a.User)}
	args := appendArgs([]string{s.sessionPrefix(a.ID.Tag()), a.User, a.ID.String()}, a)
	res, err := s.conn.Run(ctx, s.scripts.claim.Call(keys, append(args, strconv.Itoa(session.MaxBatch))...))
	if err != nil {
		return done, err
	}
	if _, err := res.AsInt64(); err == nil {
		return done, session.ErrNotFound
	}
	reply, err := res.ToArray()
	if err != nil || len(reply) != 6 {
		return done, errReply
	}
	if done.Session, err = parseEntry(reply[0], reply[1]); err != nil {
		return done, err
	}
	done.Resumed, done.Pending = true, isSet(reply[2])
	if before := parsePlace(reply[3], reply[4]); before != a.Place {
		done.Replaced = before
	}
	done.Evicted, err = parsePairs(reply[5])
	return done, err
}

// Detach implements session.Store.
func (s *store) Detach(ctx context.Context, refs []session.Ref) error { return s.end(ctx, refs, false) }

// Discard implements session.Store.
func (s *store) Discard(ctx context.Context, refs []session.Ref) error { return s.end(ctx, refs, true) }

func (s *store) end(ctx context.Context, refs []session.Ref, discard bool) error {
	return runBatches(ctx, s, refs, func(ref session.Ref) redisconn.Call {
		return s.scripts.detach.Call([]string{s.sessionKey(ref.ID)}, strconv.FormatUint(ref.Conn, 10),
			s.listPrefix(ref.ID.Tag()), ref.ID.String(), millisText(s.emptyTTL), flag(discard))
	}, func(_ session.Ref, res rueidis.RedisResult) error {
		return redisconn.Error(res.Error())
	})
}

// Touch implements session.Store.
func (s *store) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	err = runBatches(ctx, s, refs, func(ref session.Ref) redisconn.Call {
		return s.scripts.touch.Call([]string{s.sessionKey(ref.ID)}, s.listPrefix(ref.ID.Tag()), ref.ID.String())
	}, func(ref session.Ref, res rueidis.RedisResult) error {
		n, err := res.AsInt64()
		if err == nil && n == 0 {
			lost = append(lost, ref)
		}
		return redisconn.Error(err)
	})
	return lost, err
}

// Restore implements session.Store.
func (s *store) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return nil, err
		}
	}
	err = runBatches(ctx, s, list, func(one session.Saved) redisconn.Call {
		keys := []string{s.sessionKey(one.ID), s.listKey(one.ID, one.User)}
		return s.scripts.restore.Call(keys, appendChanges([]string{
			one.ID.String(), one.User, string(sessionwire.AppendParams(nil, one.Params)), microsText(one.Created),
			millisText(session.ClampTTL(one.TTL)), one.Place.Node, strconv.FormatUint(one.Place.Conn, 10),
			strconv.Itoa(session.MaxValues), strconv.Itoa(session.MaxValueBytes),
		}, one.Values)...)
	}, func(one session.Saved, res rueidis.RedisResult) error {
		switch n, err := res.AsInt64(); {
		case err != nil:
			return redisconn.Error(err)
		case n == 2:
			return fmt.Errorf("%w: its values", session.ErrTooLarge)
		case n == 0:
			superseded = append(superseded, one.ID)
		}
		return nil
	})
	return superseded, err
}
