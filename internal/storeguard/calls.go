package storeguard

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/expedite-go/expedite/session"
)

// limit returns a context with the time limit of a call.
func (g *Guard) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, g.timeout)
}

// Attach implements session.Store. During an outage, it attaches a session of the spare store.
func (g *Guard) Attach(ctx context.Context, a session.Attach) (session.Attached, error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	one, err := g.sessions.enter(ctx, a.ID)
	if err != nil {
		return session.Attached{}, err
	}
	if one != nil {
		defer g.sessions.leave(one)
		return g.attachSpare(ctx, a)
	}
	done, asked, err := ask(ctx, g.breaker, func(ctx context.Context) (session.Attached, error) {
		return g.main.Attach(ctx, a)
	})
	switch {
	case asked && err == nil && !a.ID.IsZero() && !done.Resumed && !g.require:
		return g.attachLeft(ctx, a, done)
	case asked || g.require:
		return done, err
	default:
		return g.attachSpare(ctx, a)
	}
}

// attachLeft handles a session that the main store does not know. If the spare store has it, a worker has left it there
// when it ended during an outage: attachLeft resumes it, and deletes made, the session that the main store has created.
func (g *Guard) attachLeft(ctx context.Context, a session.Attach, made session.Attached) (session.Attached, error) {
	if list, err := g.spare.Find(ctx, a.ID); err != nil || len(list) == 0 || list[0].User != a.User {
		return made, nil
	}
	done, err := g.attachSpare(ctx, a)
	if err != nil || !done.Resumed {
		return made, nil
	}
	done.Evicted = append(done.Evicted, made.Evicted...)
	if _, err := g.main.Drop(ctx, made.Session.ID); err != nil && g.mayLog() {
		g.log.Warn("an unused session is still in the store", "error", err)
	}
	return done, nil
}

// attachSpare attaches a session of the spare store.
func (g *Guard) attachSpare(ctx context.Context, a session.Attach) (session.Attached, error) {
	if err := g.sessions.reserve(); err != nil {
		return session.Attached{}, err
	}
	done, err := g.spare.Attach(ctx, a)
	if err != nil {
		return done, err
	}
	g.sessions.attached(done.Session)
	g.breaker.ensureRecovery()
	return done, nil
}

// Claim implements session.Store.
func (g *Guard) Claim(ctx context.Context, a session.Attach) (done session.Attached, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	used, err := g.sessions.use(ctx, a.ID, func(ctx context.Context) (err error) {
		if done, err = g.spare.Claim(ctx, a); err == nil {
			g.sessions.claimed(a.ID, a.Place, done.Evicted)
		}
		return err
	})
	if used {
		return done, err
	}
	done, _, err = ask(ctx, g.breaker, func(ctx context.Context) (session.Attached, error) { return g.main.Claim(ctx, a) })
	return done, err
}

// Detach implements session.Store. During an outage, it records the ends.
func (g *Guard) Detach(ctx context.Context, refs []session.Ref) error {
	return g.end(ctx, refs, session.Store.Detach)
}

// Discard implements session.Store. During an outage, it records the ends, like Detach.
func (g *Guard) Discard(ctx context.Context, refs []session.Ref) error {
	return g.end(ctx, refs, session.Store.Discard)
}

// end tells the stores of the ends of connections, by one of their methods.
func (g *Guard) end(
	ctx context.Context, refs []session.Ref, tell func(session.Store, context.Context, []session.Ref) error,
) error {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	main, spare, moving, entered := g.sessions.enterAll(refs)
	g.record(moving)
	var err error
	if len(spare) > 0 {
		err = tell(g.spare, ctx, spare)
		g.sessions.leave(entered...)
	}
	if len(main) == 0 {
		return err
	}
	asked, mainErr := g.breaker.do(ctx, func(ctx context.Context) error { return tell(g.main, ctx, main) })
	if asked {
		return errors.Join(err, mainErr)
	}
	g.record(main)
	return err
}

// record records ends for the recovery.
func (g *Guard) record(refs []session.Ref) {
	if len(refs) > 0 {
		g.ends.add(refs)
		g.breaker.ensureRecovery()
	}
}

// Touch implements session.Store. During an outage, no session counts as lost.
func (g *Guard) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	main, spare, _, entered := g.sessions.enterAll(refs)
	if len(spare) > 0 {
		_, err = g.spare.Touch(ctx, spare)
		g.sessions.leave(entered...)
	}
	if len(main) == 0 {
		return nil, err
	}
	lost, asked, mainErr := ask(ctx, g.breaker, func(ctx context.Context) ([]session.Ref, error) {
		return g.main.Touch(ctx, main)
	})
	if !asked {
		return nil, err
	}
	return lost, errors.Join(err, mainErr)
}

// Restore implements session.Store. It skips sessions that are in the spare store: they are not lost.
func (g *Guard) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	var main []session.Saved
	for _, s := range list {
		if !g.sessions.has(s.ID) {
			main = append(main, s)
		}
	}
	if len(main) == 0 {
		return nil, nil
	}
	superseded, _, err = ask(ctx, g.breaker, func(ctx context.Context) ([]session.ID, error) {
		return g.main.Restore(ctx, main)
	})
	return superseded, err
}

// Load implements session.Store. The result includes the writes that still wait.
func (g *Guard) Load(ctx context.Context, id session.ID, keys ...string) (values map[string][]byte, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	used, err := g.sessions.use(ctx, id, func(ctx context.Context) (err error) {
		values, err = g.spare.Load(ctx, id, keys...)
		return err
	})
	if used {
		return values, err
	}
	waiting := g.writes.of(id) // before the store is asked: a write that it has already is applied again
	values, _, err = ask(ctx, g.breaker, func(ctx context.Context) (map[string][]byte, error) {
		return g.main.Load(ctx, id, keys...)
	})
	if err != nil {
		return nil, err
	}
	for _, changes := range waiting {
		for k, v := range changes {
			switch {
			case len(keys) > 0 && !slices.Contains(keys, k):
			case v == nil:
				delete(values, k)
			default:
				values[k] = append([]byte{}, v...)
			}
		}
	}
	return values, nil
}

// Save implements session.Store. The writes of a session keep their order: while one waits, the later ones wait, too.
func (g *Guard) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if err := changes.Validate(); err != nil {
		return err
	}
	ctx, cancel := g.limit(ctx)
	defer cancel()
	used, err := g.sessions.use(ctx, id, func(ctx context.Context) error { return g.spare.Save(ctx, id, changes) })
	if used {
		return err
	}
	if !g.writes.has(id) {
		asked, err := g.breaker.do(ctx, func(ctx context.Context) error { return g.main.Save(ctx, id, changes) })
		if asked {
			return err
		}
	}
	_, _, cause := g.breaker.current()
	err = g.writes.put(id, changes, cause)
	g.breaker.ensureRecovery()
	return err
}

// Find implements session.Store.
func (g *Guard) Find(ctx context.Context, ids ...session.ID) (found []session.Session, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	var main []session.ID
	known := make(map[session.ID]session.Session, len(ids))
	for _, id := range ids {
		used, err := g.sessions.use(ctx, id, func(ctx context.Context) error {
			list, err := g.spare.Find(ctx, id)
			if err == nil && len(list) == 0 {
				return session.ErrNotFound
			}
			for _, s := range list {
				known[id] = s
			}
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case !used:
			main = append(main, id)
		}
	}
	if len(main) > 0 {
		list, _, err := ask(ctx, g.breaker, func(ctx context.Context) ([]session.Session, error) {
			return g.main.Find(ctx, main...)
		})
		if err != nil || len(main) == len(ids) {
			return list, err
		}
		for _, s := range list {
			known[s.ID] = s
		}
	}
	for _, id := range ids {
		if s, ok := known[id]; ok {
			found = append(found, s)
		}
	}
	return found, nil
}

// List implements session.Store.
func (g *Guard) List(ctx context.Context, user string, page session.Page) ([]session.Session, error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	list, _, err := ask(ctx, g.breaker, func(ctx context.Context) ([]session.Session, error) {
		return g.main.List(ctx, user, page)
	})
	return list, err
}

// Drop implements session.Store.
func (g *Guard) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	var main []session.ID
	for _, id := range ids {
		gone := 0
		used, err := g.sessions.use(ctx, id, func(ctx context.Context) error {
			list, err := g.spare.Drop(ctx, id)
			dropped = append(dropped, list...)
			if gone = len(list); err == nil {
				return session.ErrNotFound // from now on
			}
			return err
		})
		switch {
		case used:
			return dropped, err
		case gone == 0:
			main = append(main, id)
		}
	}
	if len(main) == 0 {
		return dropped, nil
	}
	list, _, err := ask(ctx, g.breaker, func(ctx context.Context) ([]session.Session, error) {
		return g.main.Drop(ctx, main...)
	})
	return append(dropped, list...), err
}

// PutTicket implements session.Store. If the main store fails, it may have stored the ticket: the spare store must not
// have it, too, as it could then be taken twice. Only tickets that follow are stored there.
func (g *Guard) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	if g.breaker.isDown() && !g.require {
		return g.spare.PutTicket(ctx, key, value, ttl)
	}
	_, err := g.breaker.do(ctx, func(ctx context.Context) error { return g.main.PutTicket(ctx, key, value, ttl) })
	return err
}

// TakeTicket implements session.Store. It also takes tickets that any worker has stored during an outage.
func (g *Guard) TakeTicket(ctx context.Context, key [32]byte) ([]byte, error) {
	ctx, cancel := g.limit(ctx)
	defer cancel()
	value, asked, err := ask(ctx, g.breaker, func(ctx context.Context) ([]byte, error) {
		return g.main.TakeTicket(ctx, key)
	})
	if asked && !errors.Is(err, session.ErrNotFound) || g.require {
		return value, err
	}
	value, spareErr := g.spare.TakeTicket(ctx, key)
	if errors.Is(spareErr, session.ErrNotFound) {
		return nil, err // without the main store, nobody knows whether the ticket exists
	}
	return value, spareErr
}

var _ session.Store = (*Guard)(nil)
