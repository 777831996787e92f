package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// errReply says that Redis answers something that no script of ours does.
var errReply = errors.New("session: Redis: reply not understood")

// Attach is Store's.
func (r *Redis) Attach(ctx context.Context, a Attach) (Attached, error) {
	if err := a.check(); err != nil {
		return Attached{}, err
	}
	fresh := NewID(a.User)
	wanted := a.ID
	if !wanted.mayBe(a.User) {
		wanted = ID{}
	}
	if a.User == "" && !wanted.IsZero() { // it lies in a slot of its own
		done, found, err := r.attach(ctx, a, wanted, ID{})
		if found || err != nil {
			return done, err
		}
		wanted = ID{}
	}
	done, found, err := r.attach(ctx, a, wanted, fresh)
	if err == nil && !found {
		err = errReply
	}
	return done, err
}

// attach resumes the session that is wanted, if it is one, or makes a fresh one, if it may.
func (r *Redis) attach(ctx context.Context, a Attach, wanted, fresh ID) (done Attached, found bool, err error) {
	at := fresh
	if fresh.IsZero() {
		at = wanted
	}
	text := func(id ID) string {
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
		list = r.listPrefix(at.tag()) + a.User
	}
	res, err := r.call(ctx, run{
		r.scripts.attach,
		[]string{r.sessionKey(first), r.sessionKey(at), list},
		a.appendArgs([]string{r.sessionPrefix(at.tag()), a.User, text(wanted), text(fresh)}),
	})
	if err != nil {
		return done, false, err
	}
	if n, err := res.AsInt64(); err == nil {
		if n == 1 {
			return done, false, ErrTooManySessions
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
func (a *Attach) appendArgs(args []string) []string {
	return append(args, string(appendParams(nil, a.Params)), flag(a.Params != nil), a.Place.Node,
		strconv.FormatUint(a.Place.Conn, 10), millisText(a.Policy.ttl()), strconv.Itoa(max(a.Policy.MaxPerUser, 0)),
		flag(a.Policy.Refuse), strconv.FormatInt(a.Policy.Stale.Microseconds(), 10))
}

// Claim is Store's.
func (r *Redis) Claim(ctx context.Context, a Attach) (done Attached, err error) {
	if err := a.check(); err != nil {
		return done, err
	}
	if a.ID.IsZero() || !a.ID.mayBe(a.User) {
		return done, ErrNotFound
	}
	keys := []string{r.sessionKey(a.ID), r.sessionKey(a.ID)}
	if a.User != "" {
		keys[1] = r.listPrefix(a.ID.tag()) + a.User
	}
	args := a.appendArgs([]string{r.sessionPrefix(a.ID.tag()), a.User, a.ID.String()})
	res, err := r.call(ctx, run{r.scripts.claim, keys, append(args, strconv.Itoa(MaxBatch))})
	if err != nil {
		return done, err
	}
	if _, err := res.AsInt64(); err == nil {
		return done, ErrNotFound
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

// isSet reads a flag of a script.
func isSet(m rueidis.RedisMessage) bool {
	text, _ := m.ToString() // a script writes it
	return text == "1"
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func millisText(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Detach is Store's.
func (r *Redis) Detach(ctx context.Context, refs []Ref) error { return r.end(ctx, refs, false) }

// Discard is Store's.
func (r *Redis) Discard(ctx context.Context, refs []Ref) error { return r.end(ctx, refs, true) }

// end takes the connections from their sessions, or deletes those that hold no values.
func (r *Redis) end(ctx context.Context, refs []Ref, discard bool) error {
	return batches(refs, func(refs []Ref) error {
		runs := make([]run, len(refs))
		for i, ref := range refs {
			runs[i] = run{r.scripts.detach, []string{r.sessionKey(ref.ID)}, []string{
				strconv.FormatUint(ref.Conn, 10), r.listPrefix(ref.ID.tag()), ref.ID.String(),
				millisText(r.emptyTTL), flag(discard),
			}}
		}
		results, err := r.callAll(ctx, runs)
		if err != nil {
			return err
		}
		return resultsError(results)
	})
}

// Touch is Store's.
func (r *Redis) Touch(ctx context.Context, refs []Ref) (lost []Ref, err error) {
	err = batches(refs, func(refs []Ref) error {
		runs := make([]run, len(refs))
		for i, ref := range refs {
			runs[i] = run{r.scripts.touch, []string{r.sessionKey(ref.ID)}, []string{
				r.listPrefix(ref.ID.tag()), ref.ID.String(),
			}}
		}
		results, err := r.callAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			n, err := res.AsInt64()
			if err != nil {
				return redisError(err)
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
func (r *Redis) Restore(ctx context.Context, list []Saved) (superseded []ID, err error) {
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	err = batches(list, func(list []Saved) error {
		runs := make([]run, len(list))
		for i, s := range list {
			keys := []string{r.sessionKey(s.ID), r.sessionKey(s.ID)}
			if s.User != "" {
				keys[1] = r.listPrefix(s.ID.tag()) + s.User
			}
			runs[i] = run{r.scripts.restore, keys, appendChangeArgs([]string{
				s.ID.String(), s.User, string(appendParams(nil, s.Params)), strconv.FormatInt(micros(s.Created), 10),
				millisText(clampTTL(s.TTL)), s.Place.Node, strconv.FormatUint(s.Place.Conn, 10),
				strconv.Itoa(MaxValues), strconv.Itoa(MaxValueBytes),
			}, s.Values)}
		}
		results, err := r.callAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			switch n, err := res.AsInt64(); {
			case err != nil:
				return redisError(err)
			case n == 2:
				return fmt.Errorf("%w: its values", ErrTooLarge)
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

// Load is Store's.
func (r *Redis) Load(ctx context.Context, id ID) (map[string][]byte, error) {
	all, err := r.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hgetall().Key(r.sessionKey(id)).Build()
	}).AsStrMap()
	switch {
	case err != nil:
		return nil, redisError(err)
	case all["c"] == "":
		return nil, ErrNotFound
	}
	values := make(map[string][]byte)
	for k, v := range all {
		if name, ok := strings.CutPrefix(k, "v"); ok {
			values[name] = []byte(v)
		}
	}
	return values, nil
}

// Save is Store's.
func (r *Redis) Save(ctx context.Context, id ID, changes Changes) error {
	if len(changes) > maxChanges {
		return fmt.Errorf("%w: %d changes, the limit is %d", ErrTooLarge, len(changes), maxChanges)
	}
	args := appendChangeArgs([]string{strconv.Itoa(MaxValues), strconv.Itoa(MaxValueBytes)}, changes)
	res, err := r.call(ctx, run{r.scripts.save, []string{r.sessionKey(id)}, args})
	if err != nil {
		return err
	}
	switch n, err := res.AsInt64(); {
	case err != nil:
		return redisError(err)
	case n == 0:
		return ErrNotFound
	case n == 2:
		return fmt.Errorf("%w: more than %d values or %d bytes", ErrTooLarge, MaxValues, MaxValueBytes)
	}
	return nil
}

// Find is Store's.
func (r *Redis) Find(ctx context.Context, id ID) (Session, error) {
	fields, err := r.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Hmget().Key(r.sessionKey(id)).Field("u", "p", "c", "s", "t", "n", "k").Build()
	}).ToArray()
	switch {
	case err != nil:
		return Session{}, redisError(err)
	case len(fields) != 7:
		return Session{}, errReply
	case fields[2].IsNil():
		return Session{}, ErrNotFound
	}
	return parseFields(id, fields)
}

// List is Store's.
func (r *Redis) List(ctx context.Context, user string, page Page) ([]Session, error) {
	if user == "" || len(user) > MaxUserBytes {
		return nil, nil
	}
	t := tagOf(user)
	res, err := r.call(ctx, run{
		r.scripts.list, []string{r.listPrefix(t) + user}, []string{
			r.sessionPrefix(t), strconv.Itoa(page.max()), flag(page.first()), strconv.FormatInt(micros(page.Created), 10),
			page.ID.String(),
		},
	})
	if err != nil {
		return nil, err
	}
	reply, err := res.ToArray()
	if err != nil {
		return nil, errReply
	}
	list := make([]Session, 0, len(reply))
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
func (r *Redis) Drop(ctx context.Context, ids ...ID) (dropped []Session, err error) {
	err = batches(ids, func(ids []ID) error {
		runs := make([]run, len(ids))
		for i, id := range ids {
			runs[i] = run{r.scripts.drop, []string{r.sessionKey(id)}, []string{id.String(), r.listPrefix(id.tag())}}
		}
		results, err := r.callAll(ctx, runs)
		if err != nil {
			return err
		}
		for i, res := range results {
			fields, err := res.ToArray()
			if err != nil {
				if _, ierr := res.AsInt64(); ierr == nil {
					continue // there was none
				}
				return redisError(err)
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
func (r *Redis) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	if err := checkTicket(value); err != nil {
		return err
	}
	return redisError(r.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(r.ticketKey(key)).Value(string(value)).PxMilliseconds(clampTTL(ttl).Milliseconds()).Build()
	}).Error())
}

// TakeTicket is Store's.
func (r *Redis) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	value, err := r.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Getdel().Key(r.ticketKey(key)).Build()
	}).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, ErrNotFound
	}
	return value, redisError(err)
}

// parsePair reads an id and its session.
func parsePair(m rueidis.RedisMessage) (Session, error) {
	pair, err := m.ToArray()
	if err != nil || len(pair) != 2 {
		return Session{}, errReply
	}
	return parseEntry(pair[0], pair[1])
}

func parseEntry(name, fields rueidis.RedisMessage) (Session, error) {
	text, err := name.ToString()
	if err != nil {
		return Session{}, errReply
	}
	id, err := ParseID(text)
	if err != nil {
		return Session{}, errReply
	}
	list, err := fields.ToArray()
	if err != nil {
		return Session{}, errReply
	}
	return parseFields(id, list)
}

// parseFields reads the fields of a session in the order of the scripts.
func parseFields(id ID, f []rueidis.RedisMessage) (Session, error) {
	if len(f) != 7 {
		return Session{}, errReply
	}
	var text [7]string
	for i := range f {
		text[i], _ = f[i].ToString() // what is missing is empty
	}
	number := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // scripts write numbers
		return n
	}
	s := Session{
		ID: id, User: text[0], Created: fromMicros(number(text[2])), Seen: fromMicros(number(text[3])),
		TTL: time.Duration(number(text[4])) * time.Millisecond, Place: parsePlace(f[5], f[6]),
	}
	if text[1] != "" {
		params := reader{rest: []byte(text[1])}
		s.Params = params.params()
	}
	return s, nil
}

func parsePlace(node, conn rueidis.RedisMessage) Place {
	text, _ := conn.ToString() // a script writes it
	n, _ := strconv.ParseUint(text, 10, 64)
	if n == 0 {
		return Place{}
	}
	name, _ := node.ToString()
	return Place{Node: name, Conn: n}
}
