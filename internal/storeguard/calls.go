package storeguard

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/expedite-go/expedite/session"
)

// Attach is Store's.
func (g *Guard) Attach(ctx context.Context, a session.Attach) (done session.Attached, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	p, err := g.enter(ctx, a.ID)
	if err != nil {
		return done, err
	}
	if p != nil {
		defer g.leave(p)
		return g.attachSpare(ctx, a)
	}
	asked, err := g.ask(ctx, func(ctx context.Context) (err error) {
		done, err = g.main.Attach(ctx, a)
		return err
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

// Claim is Store's.
func (g *Guard) Claim(ctx context.Context, a session.Attach) (done session.Attached, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	was, err := g.inSpare(ctx, a.ID, func(ctx context.Context) (err error) {
		done, err = g.claimSpare(ctx, a)
		return err
	})
	if was {
		return done, err
	}
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		done, err = g.main.Claim(ctx, a)
		return err
	})
	return done, err
}

// Detach is Store's. Without the main store it remembers the ends.
func (g *Guard) Detach(ctx context.Context, refs []session.Ref) error {
	return g.end(ctx, refs, session.Store.Detach)
}

// Discard is Store's. Without the main store it remembers the ends, as those of other connections.
func (g *Guard) Discard(ctx context.Context, refs []session.Ref) error {
	return g.end(ctx, refs, session.Store.Discard)
}

// end tells the stores of the ends of connections, by one of their methods.
func (g *Guard) end(
	ctx context.Context, refs []session.Ref, tell func(session.Store, context.Context, []session.Ref) error,
) error {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	main, spare, moving, stay := g.split(refs)
	g.remember(moving)
	var err error
	if len(spare) > 0 {
		err = tell(g.spare, ctx, spare)
		g.leave(stay...)
	}
	if len(main) == 0 {
		return err
	}
	asked, merr := g.ask(ctx, func(ctx context.Context) error { return tell(g.main, ctx, main) })
	if asked {
		return errors.Join(err, merr)
	}
	g.remember(main)
	return err
}

// Touch is Store's. Without the main store nothing is lost.
func (g *Guard) Touch(ctx context.Context, refs []session.Ref) (lost []session.Ref, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	main, spare, _, stay := g.split(refs)
	if len(spare) > 0 {
		_, err = g.spare.Touch(ctx, spare)
		g.leave(stay...)
	}
	if len(main) == 0 {
		return nil, err
	}
	asked, merr := g.ask(ctx, func(ctx context.Context) (err error) {
		lost, err = g.main.Touch(ctx, main)
		return err
	})
	if !asked {
		return nil, err
	}
	return lost, errors.Join(err, merr)
}

// Restore is Store's. What is in the spare store is not lost.
func (g *Guard) Restore(ctx context.Context, list []session.Saved) (superseded []session.ID, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	g.mu.Lock()
	var main []session.Saved
	for _, s := range list {
		if g.provisional[s.ID] == nil {
			main = append(main, s)
		}
	}
	g.mu.Unlock()
	if len(main) == 0 {
		return nil, nil
	}
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		superseded, err = g.main.Restore(ctx, main)
		return err
	})
	return superseded, err
}

// Load is Store's: with the writes that are still queued.
func (g *Guard) Load(ctx context.Context, id session.ID, keys ...string) (values map[string][]byte, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	was, err := g.inSpare(ctx, id, func(ctx context.Context) (err error) {
		values, err = g.spare.Load(ctx, id, keys...)
		return err
	})
	if was {
		return values, err
	}
	waiting := g.waitingOf(id)
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		values, err = g.main.Load(ctx, id, keys...)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, changes := range waiting {
		for k, v := range changes {
			if len(keys) > 0 && !slices.Contains(keys, k) {
				continue
			}
			if v == nil {
				delete(values, k)
			} else {
				values[k] = append([]byte{}, v...)
			}
		}
	}
	return values, nil
}

// Save is Store's. Writes of a session keep their order: none overtakes those that are queued.
func (g *Guard) Save(ctx context.Context, id session.ID, changes session.Changes) error {
	if err := changes.Validate(); err != nil {
		return err
	}
	ctx, cancel := g.bound(ctx)
	defer cancel()
	was, err := g.inSpare(ctx, id, func(ctx context.Context) error { return g.spare.Save(ctx, id, changes) })
	if was {
		return err
	}
	if !g.isBehind(id) {
		asked, err := g.ask(ctx, func(ctx context.Context) error { return g.main.Save(ctx, id, changes) })
		if asked {
			return err
		}
	}
	return g.put(id, changes)
}

// Find implements session.Store.
func (g *Guard) Find(ctx context.Context, ids ...session.ID) (found []session.Session, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	if len(ids) == 0 {
		return nil, nil
	}
	var main []session.ID
	by := make(map[session.ID]session.Session, len(ids))
	for _, id := range ids {
		was, err := g.inSpare(ctx, id, func(ctx context.Context) error {
			list, err := g.spare.Find(ctx, id)
			if err == nil && len(list) == 0 {
				return session.ErrNotFound
			}
			if err == nil {
				by[id] = list[0]
			}
			return err
		})
		if was && err != nil {
			return nil, err
		}
		if !was {
			main = append(main, id)
		}
	}
	if len(main) > 0 {
		_, err = g.ask(ctx, func(ctx context.Context) error {
			list, err := g.main.Find(ctx, main...)
			for _, s := range list {
				by[s.ID] = s
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		if s, ok := by[id]; ok {
			found = append(found, s)
		}
	}
	return found, nil
}

// List is Store's.
func (g *Guard) List(ctx context.Context, user string, page session.Page) (list []session.Session, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	_, err = g.ask(ctx, func(ctx context.Context) (err error) {
		list, err = g.main.List(ctx, user, page)
		return err
	})
	return list, err
}

// Drop is Store's.
func (g *Guard) Drop(ctx context.Context, ids ...session.ID) (dropped []session.Session, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	var main []session.ID
	for _, id := range ids {
		was, err := g.inSpare(ctx, id, func(ctx context.Context) error {
			gone, err := g.spare.Drop(ctx, id)
			dropped = append(dropped, gone...)
			if err == nil {
				return session.ErrNotFound // now, and so it is forgotten
			}
			return err
		})
		if was {
			return dropped, err
		}
		if len(dropped) == 0 || dropped[len(dropped)-1].ID != id {
			main = append(main, id)
		}
	}
	if len(main) == 0 {
		return dropped, nil
	}
	_, err = g.ask(ctx, func(ctx context.Context) error {
		more, err := g.main.Drop(ctx, main...)
		dropped = append(dropped, more...)
		return err
	})
	return dropped, err
}

// PutTicket is Store's. One that the main store may have got when it failed is not put anywhere else: it could be taken
// twice. The next one is.
func (g *Guard) PutTicket(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	g.mu.Lock()
	down := g.state == guardDown
	g.mu.Unlock()
	if down && !g.require {
		return g.spare.PutTicket(ctx, key, value, ttl)
	}
	_, err := g.ask(ctx, func(ctx context.Context) error { return g.main.PutTicket(ctx, key, value, ttl) })
	return err
}

// TakeTicket is Store's. One that was put while the main store was away, by any worker, is found, too.
func (g *Guard) TakeTicket(ctx context.Context, key [32]byte) (value []byte, err error) {
	ctx, cancel := g.bound(ctx)
	defer cancel()
	asked, err := g.ask(ctx, func(ctx context.Context) (err error) {
		value, err = g.main.TakeTicket(ctx, key)
		return err
	})
	if asked && !errors.Is(err, session.ErrNotFound) || g.require {
		return value, err
	}
	value, serr := g.spare.TakeTicket(ctx, key)
	if errors.Is(serr, session.ErrNotFound) {
		return nil, err // without the main store, nobody knows
	}
	return value, serr
}
