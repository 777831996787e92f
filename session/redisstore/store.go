// Package redisstore keeps sessions in Redis.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
	"github.com/redis/rueidis"
)

// Config is how a Store works. The zero Config works.
type Config struct {
	// Prefix is what all keys begin with; empty means "expedite:".
	Prefix string
	// Timeout bounds every call; 0 means 1 s.
	Timeout time.Duration
	// EmptyTTL is how long an anonymous session without values lives after its connection; 0 means as long as others.
	EmptyTTL time.Duration
}

// Store is a session.Store in Redis. Any number of machines may use one Redis at once. Make one with [New].
type Store struct {
	conn     *redisconn.Conn
	prefix   string
	emptyTTL time.Duration
	scripts  scripts
}

// New makes a store of the Redis that a URL names: redis://user:password@host:6379/0, rediss:// with TLS,
// unix:///path, redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It fails if the
// URL is invalid, never because Redis is away: it waits for the first attempt to connect at most as long as a call may
// take, and until one succeeds, everything fails with ErrUnavailable. Close it.
func New(ctx context.Context, rawURL string, c Config) (*Store, error) {
	r := &Store{prefix: c.Prefix, emptyTTL: c.EmptyTTL, scripts: newScripts()}
	if strings.ContainsAny(r.prefix, "{}") {
		return nil, errors.New("session: Redis: a prefix with braces, which tell a cluster where a key is")
	}
	if r.prefix == "" {
		r.prefix = redisconn.DefaultPrefix
	}
	var err error
	if r.conn, err = redisconn.Open(rawURL, c.Timeout); err != nil {
		return nil, err
	}
	r.conn.Wait(ctx)
	return r, nil
}

// Close lets the connections go.
func (r *Store) Close() error { return r.conn.Close() }

// Attach is Store's.
func (r *Store) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := a.Validate(); err != nil {
		return session.Attached{}, err
	}
	fresh := session.NewID(a.User)
	wanted := a.ID
	if !wanted.MayBelongTo(a.User) {
		wanted = session.ID{}
	}
	if a.User == "" && !wanted.IsZero() { // it lies in a slot of its own
		done, found, err := r.attach(ctx, a, wanted, session.ID{})
		if found || err != nil {
			return done, err
		}
		wanted = session.ID{}
	}
	done, found, err := r.attach(ctx, a, wanted, fresh)
	if err == nil && !found {
		err = errReply
	}
	return done, err
}

// attach resumes the session that is wanted, if it is one, or makes a fresh one, if it may.
func (r *Store) attach(
	ctx context.Context, a session.Attach, wanted, fresh session.ID,
) (done session.Attached, found bool, err error) {
	at := fresh
	if fresh.IsZero() {
		at = wanted
	}
	text := func(id session.ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	first := at
	if !wanted.IsZero() {
		first = wanted
	}
	list := r.sessionKey(at)
	if a.User != "" {
		list = r.listPrefix(at.Tag()) + a.User
	}
	args := appendArgs([]string{r.sessionPrefix(at.Tag()), a.User, text(wanted), text(fresh)}, a)
	keys := []string{r.sessionKey(first), r.sessionKey(at), list}
	res, err := r.conn.Run(ctx, r.scripts.attach.Call(keys, args...))
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

// appendArgs appends what the scripts of Attach and Claim take behind the ids.
func appendArgs(args []string, a session.Attach) []string {
	return append(args, string(sessionwire.AppendParams(nil, a.Params)), flag(a.Params != nil), a.Place.Node,
		strconv.FormatUint(a.Place.Conn, 10), millisText(a.Policy.Lifetime()), strconv.Itoa(max(a.Policy.MaxPerUser, 0)),
		flag(a.Policy.Refuse), strconv.FormatInt(a.Policy.Stale.Microseconds(), 10))
}

// Claim is Store's.
func (r *Store) Claim(ctx context.Context, a session.Attach) (done session.Attached, err error) {
	if err := a.Validate(); err != nil {
		return done, err
	}
	if a.ID.IsZero() || !a.ID.MayBelongTo(a.User) {
		return done, session.ErrNotFound
	}
	keys := []string{r.sessionKey(a.ID), r.sessionKey(a.ID)}
	if a.User != "" {
		keys[1] = r.listPrefix(a.ID.Tag()) + a.User
	}
	args := appendArgs([]string{r.sessionPrefix(a.ID.Tag()), a.User, a.ID.String()}, a)
	res, err := r.conn.Run(ctx, r.scripts.claim.Call(keys, append(args, strconv.Itoa(session.MaxBatch))...))
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
	evicted, err := reply[5].ToArray()
	if err != nil {
		return done, errReply
	}
	for _, one := range evicted {
		s, err := parsePair(one)
		if err != nil {
			return done, err
		}
		done.Evicted = append(done.Evicted, s)
	}
	return done, nil
}

// Detach is Store's.
func (r *Store) Detach(ctx context.Context, refs []session.Ref) error { return r.end(ctx, refs, false) }

// Discard is Store's.
func (r *Store) Discard(ctx context.Context, refs []session.Ref) error { return r.end(ctx, refs, true) }

// end takes the connections from their sessions, or deletes those that hold no values.
func (r *Store) end(ctx context.Context, refs []session.Ref, discard bool) error {
	return batches(refs, func(refs []session.Ref) error {
		runs := make([]redisconn.Call, len(refs))
		for i, ref := range refs {
			runs[i] = r.scripts.detach.Call([]string{r.sessionKey(ref.ID)},
				strconv.FormatUint(ref.Conn, 10), r.listPrefix(ref.ID.Tag()), ref.ID.String(),
				millisText(r.emptyTTL), flag(discard))
		}
		results, err := r.conn.RunAll(ctx, runs)
		if err != nil {
			return err
		}
		return redisconn.FirstError(results)
	})
}

// Touch is Store's.
func (r *Store) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	err = batches(refs, func(refs []session.Ref) error {
		runs := make([]redisconn.Call, len(refs))
		for i, ref := range refs {
			runs[i] = r.scripts.touch.Call([]string{r.sessionKey(ref.ID)}, r.listPrefix(ref.ID.Tag()), ref.ID.String())
		}
		results, err := r.conn.RunAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			n, err := res.AsInt64()
			if err != nil {
				return redisconn.Error(err)
			}
			if n == 0 {
				lost = append(lost, refs[i])
			}
		}
		return nil
	})
	return lost, err
}

// Restore is Store's.
func (r *Store) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return nil, err
		}
	}
	err = batches(list, func(list []session.Saved) error {
		runs := make([]redisconn.Call, len(list))
		for i, s := range list {
			keys := []string{r.sessionKey(s.ID), r.sessionKey(s.ID)}
			if s.User != "" {
				keys[1] = r.listPrefix(s.ID.Tag()) + s.User
			}
			runs[i] = r.scripts.restore.Call(keys, appendChangeArgs([]string{
				s.ID.String(), s.User, string(sessionwire.AppendParams(nil, s.Params)), microsText(s.Created),
				millisText(session.ClampTTL(s.TTL)), s.Place.Node, strconv.FormatUint(s.Place.Conn, 10),
				strconv.Itoa(session.MaxValues), strconv.Itoa(session.MaxValueBytes),
			}, s.Values)...)
		}
		results, err := r.conn.RunAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			switch n, err := res.AsInt64(); {
			case err != nil:
				return redisconn.Error(err)
			case n == 2:
				return fmt.Errorf("%w: its values", session.ErrTooLarge)
			case n == 0:
				superseded = append(superseded, list[i].ID)
			}
		}
		return nil
	})
	return superseded, err
}

// appendChangeArgs appends values as scripts take them: key, whether it is set, value.
func appendChangeArgs(args []string, changes map[string][]byte) []string {
	for k, v := range changes {
		args = append(args, k, flag(v != nil), string(v))
	}
	return args
}

// valuePrefix is the beginning of the names of hash fields that are values. The other fields have names of one letter.
const valuePrefix = "v"

// Load implements session.Store.
func (r *Store) Load(ctx context.Context, id session.ID, keys ...string) (map[string][]byte, error) {
	if len(keys) > 0 {
		return r.loadKeys(ctx, id, keys)
	}
	all, err := r.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hgetall().Key(r.sessionKey(id)).Build()
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

func (r *Store) loadKeys(ctx context.Context, id session.ID, keys []string) (map[string][]byte, error) {
	fields := make([]string, 1, 1+len(keys))
	fields[0] = "c" // every session has it
	for _, key := range keys {
		fields = append(fields, valuePrefix+key)
	}
	reply, err := r.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hmget().Key(r.sessionKey(id)).Field(fields...).Build()
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
		if v, err := reply[1+i].AsBytes(); err == nil {
			values[key] = v
		}
	}
	return values, nil
}

// Save is Store's.
func (r *Store) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if len(changes) > session.MaxChanges {
		return fmt.Errorf("%w: %d changes, the limit is %d", session.ErrTooLarge, len(changes), session.MaxChanges)
	}
	args := appendChangeArgs([]string{strconv.Itoa(session.MaxValues), strconv.Itoa(session.MaxValueBytes)}, changes)
	res, err := r.conn.Run(ctx, r.scripts.save.Call([]string{r.sessionKey(id)}, args...))
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

// Find implements session.Store.
func (r *Store) Find(ctx context.Context, ids ...session.ID) (found []session.Session, err error) {
	for batch := range slices.Chunk(ids, session.MaxBatch) {
		results, err := r.conn.DoMulti(ctx, func(b rueidis.Builder) rueidis.Commands {
			commands := make(rueidis.Commands, len(batch))
			for i, id := range batch {
				commands[i] = b.Hmget().Key(r.sessionKey(id)).Field("u", "p", "c", "s", "t", "n", "k").Build()
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
			case fields[2].IsNil():
				continue
			}
			s, err := parseFields(batch[i], fields)
			if err != nil {
				return found, err
			}
			found = append(found, s)
		}
	}
	return found, nil
}

// List is Store's.
func (r *Store) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	if user == "" || len(user) > session.MaxUserBytes {
		return nil, nil
	}
	t := session.TagOf(user)
	res, err := r.conn.Run(ctx, r.scripts.list.Call([]string{r.listPrefix(t) + user},
		r.sessionPrefix(t), strconv.Itoa(page.Limit()), flag(page.IsFirst()), microsText(page.Created),
		page.ID.String()))
	if err != nil {
		return nil, err
	}
	reply, err := res.ToArray()
	if err != nil {
		return nil, errReply
	}
	list := make([]session.Session, 0, len(reply))
	for _, one := range reply {
		s, err := parsePair(one)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// Drop is Store's.
func (r *Store) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	err = batches(ids, func(ids []session.ID) error {
		runs := make([]redisconn.Call, len(ids))
		for i, id := range ids {
			runs[i] = r.scripts.drop.Call([]string{r.sessionKey(id)}, id.String(), r.listPrefix(id.Tag()))
		}
		results, err := r.conn.RunAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			fields, err := res.ToArray()
			if err != nil {
				if _, ierr := res.AsInt64(); ierr == nil {
					continue // there was none
				}
				return redisconn.Error(err)
			}
			s, err := parseFields(ids[i], fields)
			if err != nil {
				return err
			}
			dropped = append(dropped, s)
		}
		return nil
	})
	return dropped, err
}

// PutTicket is Store's.
func (r *Store) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := session.ValidateTicket(value); err != nil {
		return err
	}
	return redisconn.Error(r.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(r.ticketKey(key)).Value(string(value)).PxMilliseconds(session.ClampTTL(ttl).Milliseconds()).Build()
	}).Error())
}

// TakeTicket is Store's.
func (r *Store) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	value, err := r.conn.Do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Getdel().Key(r.ticketKey(key)).Build()
	}).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, session.ErrNotFound
	}
	return value, redisconn.Error(err)
}

// batches calls f with parts of a list that are not longer than session.MaxBatch, until one fails.
func batches[T any](list []T, f func([]T) error) error {
	for part := range slices.Chunk(list, session.MaxBatch) {
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}

func (r *Store) hashTag(t session.Tag) string { return r.prefix + "{" + fmt.Sprintf("%x", t[:]) + "}:" }

// sessionKey is the key of a session, sessionPrefix what stands in front of its id, and listPrefix what stands in
// front of a user's name in the key of its list.
func (r *Store) sessionKey(id session.ID) string    { return r.sessionPrefix(id.Tag()) + id.String() }
func (r *Store) sessionPrefix(t session.Tag) string { return r.hashTag(t) + "s:" }
func (r *Store) listPrefix(t session.Tag) string    { return r.hashTag(t) + "u:" }

// ticketKey is the key of a ticket.
func (r *Store) ticketKey(key [32]byte) string { return r.prefix + fmt.Sprintf("{t:%x}", key[:]) }

var _ session.Store = (*Store)(nil)
