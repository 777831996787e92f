package storeguard

import (
	"context"
	"errors"

	"github.com/expedite-go/expedite/session"
)

// maxProvisional is how many sessions a Guard knows in the spare store.
const maxProvisional = 1 << 20

// resident is a session in the spare store, to be moved.
type resident struct {
	place  session.Place
	busy   int  // calls that are under way there
	moving bool // it is on its way: nothing may happen to it there
}

var errProvisional = errors.New("session: too many sessions wait for the store")

// enter returns a session that is in the spare store, where it stays until leave; nil if it is not. One that is on
// its way is waited for.
func (g *Guard) enter(ctx context.Context, id session.ID) (*resident, error) {
	for {
		g.mu.Lock()
		p := g.provisional[id]
		if p == nil || !p.moving {
			if p != nil {
				p.busy++
			}
			g.mu.Unlock()
			return p, nil
		}
		moved := g.moved
		g.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, session.Unavailable(ctx.Err())
		}
	}
}

// leave ends what enter began.
func (g *Guard) leave(all ...*resident) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range all {
		p.busy--
	}
	select {
	case g.idle <- struct{}{}:
	default:
	}
}

// inSpare calls the spare store if the session is there. It reports false if it is not, or not any more: another
// worker has moved it.
func (g *Guard) inSpare(ctx context.Context, id session.ID, call func(context.Context) error) (was bool, err error) {
	p, err := g.enter(ctx, id)
	if p == nil {
		return err != nil, err
	}
	defer g.leave(p)
	if err = call(ctx); !errors.Is(err, session.ErrNotFound) {
		return true, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.provisional, id)
	return false, nil
}

// split divides refs by where their sessions are: in the main store, in the spare one, where they stay until leave,
// or between the two.
func (g *Guard) split(refs []session.Ref) (main, spare, moving []session.Ref, stay []*resident) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ref := range refs {
		switch p := g.provisional[ref.ID]; {
		case p == nil:
			main = append(main, ref)
		case p.moving:
			moving = append(moving, ref)
		default:
			p.busy++
			spare, stay = append(spare, ref), append(stay, p)
		}
	}
	return main, spare, moving, stay
}

// attachLeft resumes a session that the main store does not know if the spare one does: a worker that ended before the
// main store was back has left it there. What the main store made of it, made, is taken back.
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
		g.log.Warn("a session that is not needed is still in the store", "error", err)
	}
	return done, nil
}

// attachSpare makes or resumes a session in the spare store.
func (g *Guard) attachSpare(ctx context.Context, a session.Attach) (session.Attached, error) {
	g.mu.Lock()
	full := len(g.provisional) >= maxProvisional
	if full {
		g.count.Refused++
	}
	g.mu.Unlock()
	if full {
		return session.Attached{}, session.Unavailable(errProvisional)
	}
	done, err := g.spare.Attach(ctx, a)
	if err != nil {
		return done, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.provisional[done.Session.ID]; p != nil {
		p.place = done.Session.Place // until the Claim that of another connection, if there is one
	} else {
		g.provisional[done.Session.ID] = &resident{place: done.Session.Place}
		g.count.Provisional++
	}
	g.lookLocked()
	return done, nil
}

// claimSpare finishes what attachSpare has left Pending.
func (g *Guard) claimSpare(ctx context.Context, a session.Attach) (session.Attached, error) {
	done, err := g.spare.Claim(ctx, a)
	if err != nil {
		return done, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.provisional[a.ID]; p != nil {
		p.place = a.Place
	}
	for _, s := range done.Evicted {
		delete(g.provisional, s.ID)
	}
	return done, nil
}
