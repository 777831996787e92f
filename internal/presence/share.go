package presence

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// DefaultLease is how long the members of a machine are present that has died.
	DefaultLease = 15 * time.Second
	// shareWorkers is the number of topics whose changes are under way at the same time.
	shareWorkers = 8
	// changeTimeout bounds a change, and one of everything else that the store is asked for.
	changeTimeout = 5 * time.Second
	// firstPause and lastPause are between two attendances. An attendance that lasted for longPause was a good one.
	firstPause, lastPause, longPause = 250 * time.Millisecond, 2 * time.Second, 30 * time.Second
	// hearLimit is how long an announcement may take that the store has made.
	hearLimit = 2 * time.Second
	// maxFormer is the number of former attendances that are retired. The leases of others run out.
	maxFormer = 16
)

// sharing is what a Server with other machines has in addition. Guarded by Server.mu.
type sharing struct {
	id        uint64 // of the attendance; 0 is none
	former    []uint64
	ready     []*room // that have changes
	held      []*room // whose changes have to wait
	expecting []*room // whose announcements are under way
	left      int     // rooms that were not complete in this attendance yet
	told      bool    // Config.Log knows that others are not told. Only share and what it calls use it
	err       error   // why there is no attendance

	wake    chan struct{} // for the workers
	trouble chan struct{}
}

// share is what a room has in addition.
type share struct {
	standing backplane.Standing // the latest that the store has told
	before   backplane.Standing // the one before this attendance
	heard    backplane.Standing // of the latest announcement
	dirty    []*member          // that may have to be changed
	ready    bool               // in sharing.ready
	held     bool               // in sharing.held
	busy     bool               // a change is under way
	entire   bool               // it counts in sharing.left
	hold     time.Duration      // until when others add their members again to a store that has lost its memory
	expects  time.Duration      // when standing must have been heard; 0 is nothing
}

// shared is what a member has in addition.
type shared struct {
	known bool // others were told of it
	added bool // in this attendance
	dirty bool // in share.dirty
}

// action is what a change does with a member.
type action struct {
	*member
	kind actionKind
}

type actionKind uint8

const (
	adds     actionKind = iota
	restores            // it was known before
	removes
)

// mark notes that a member may have to be changed. s.mu must be held.
func (s *Server) mark(m *member) {
	at := m.room
	if !m.shared.dirty {
		m.shared.dirty = true
		at.share.dirty = append(at.share.dirty, m)
	}
	s.line(at)
}

// line lets a worker look at a room. s.mu must be held.
func (s *Server) line(at *room) {
	if s.sharing.id == 0 || at.share.ready || at.share.busy || at.share.held {
		return
	}
	at.share.ready = true
	s.sharing.ready = append(s.sharing.ready, at)
	select {
	case s.sharing.wake <- struct{}{}:
	default:
	}
}

// share attends with one attendance after the other, until ctx ends.
func (s *Server) share(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := s.now()
		err := s.attend(ctx)
		if s.now()-began > longPause {
			pause = firstPause
		}
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		s.sharing.err = err
		s.mu.Unlock()
		if !errors.Is(err, errInterrupted) && !s.sharing.told {
			s.sharing.told = true
			s.cfg.Log.Warn("presence is not shared with other machines", "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// attend begins an attendance, adds everybody, and then what changes, until something fails: then it is not known what
// the store knows. The former attendances end when everybody is there.
func (s *Server) attend(ctx context.Context) (err error) {
	lease := s.cfg.Lease - s.cfg.Lease/10 // it is looked for in intervals
	var id uint64
	if err := s.limited(ctx, func(ctx context.Context) (err error) {
		id, err = s.cfg.Plane.Attend(ctx, lease)
		return err
	}); err != nil {
		return err
	}
	s.begin(id)
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	for range shareWorkers {
		workers.Go(func() { cancel(s.work(ctx)) })
	}
	err = s.live(ctx, id, lease)
	cancel(err)
	workers.Wait()
	s.end(id)
	return context.Cause(ctx)
}

// limited calls f with a limit to its time.
func (s *Server) limited(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(changeTimeout, s.cfg.Lease/2))
	defer cancel()
	return f(ctx)
}

// begin marks all members to be added.
func (s *Server) begin(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.sharing
	select {
	case <-h.trouble: // it was before
	default:
	}
	h.id, h.err, h.left, h.ready, h.held = id, nil, 0, nil, nil
	s.stats.Attendances++
	for _, at := range s.roster.rooms {
		at.share.ready, at.share.held, at.share.entire = false, false, true
		at.share.before, at.share.hold = at.share.latest(), 0
		h.left++
		for _, m := range at.members {
			m.shared.added = false
			s.mark(m)
		}
		s.line(at)
	}
}

// end makes an attendance a former one.
func (s *Server) end(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.sharing
	h.id = 0
	h.former = append(h.former, id)
	h.former = h.former[max(len(h.former)-maxFormer, 0):]
}

var errInterrupted = errors.New("presence: the connection was interrupted")

// live extends an attendance, and retires former ones and those of machines that have died, until something fails.
func (s *Server) live(ctx context.Context, id uint64, lease time.Duration) error {
	tick := time.NewTicker(max(s.cfg.Lease/15, time.Millisecond))
	defer tick.Stop()
	extended := s.now()
	for {
		select {
		case <-tick.C:
		case <-s.sharing.trouble:
			return errInterrupted
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.now()-extended >= s.cfg.Lease/4 {
			extended = s.now()
			if err := s.limited(ctx, func(ctx context.Context) error {
				return s.cfg.Plane.Extend(ctx, id, lease)
			}); err != nil {
				return err
			}
		}
		if err := s.limited(ctx, s.reap); err != nil {
			return err
		}
		if err := s.retire(ctx, false); err != nil {
			return err
		}
		s.complete()
		s.look()
	}
}

// complete tells that an attendance has everybody, if it was told that there was none.
func (s *Server) complete() {
	s.mu.Lock()
	all := s.sharing.left == 0
	s.mu.Unlock()
	if all && s.sharing.told {
		s.sharing.told = false
		s.cfg.Log.Info("presence is shared with other machines again")
	}
}

func (s *Server) reap(ctx context.Context) error {
	n, err := s.cfg.Plane.Reap(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Reaped += uint64(n)
	return err
}

// retire retires the former attendances, if everybody is in this one.
func (s *Server) retire(ctx context.Context, anyway bool) error {
	s.mu.Lock()
	former := s.sharing.former
	if s.sharing.left > 0 && !anyway {
		former = nil
	}
	s.mu.Unlock()
	for i, id := range former {
		if err := s.limited(ctx, func(ctx context.Context) error { return s.cfg.Plane.Retire(ctx, id) }); err != nil {
			return err
		}
		s.mu.Lock()
		s.sharing.former = former[i+1:] // only the caller adds some
		s.mu.Unlock()
	}
	return nil
}

// look looks at rooms whose time has come.
func (s *Server) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, h := s.now(), &s.sharing
	held := h.held
	h.held = nil
	for _, at := range held {
		at.share.held = false
		if at.share.hold > now {
			at.share.held = true
			h.held = append(h.held, at)
			continue
		}
		s.line(at)
	}
	expecting := h.expecting
	h.expecting = nil
	for _, at := range expecting {
		if at.share.expects > now {
			h.expecting = append(h.expecting, at)
			continue
		}
		at.share.expects = 0
		if s.roster.rooms[at.topic] == at {
			s.expect(at)
		}
	}
}

// work changes one room after the other until ctx ends or a change fails.
func (s *Server) work(ctx context.Context) error {
	for ctx.Err() == nil {
		at, id, c, list := s.next()
		if at == nil {
			select {
			case <-s.sharing.wake:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		var standing backplane.Standing
		err := s.limited(ctx, func(ctx context.Context) (err error) {
			standing, err = s.cfg.Plane.Change(ctx, id, at.topic, c)
			return err
		})
		s.changedShared(at, c, list, result{standing, err})
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// next returns a room that has changes, and the change. It returns nil if there is none.
func (s *Server) next() (at *room, id uint64, c backplane.Change, list []action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.sharing
	for len(h.ready) > 0 {
		at = h.ready[0]
		h.ready = h.ready[1:]
		at.share.ready = false
		if c, list = s.batch(at); len(list) == 0 {
			s.settleRoom(at)
			continue
		}
		at.share.busy = true
		if len(h.ready) > 0 { // for another worker
			select {
			case h.wake <- struct{}{}:
			default:
			}
		}
		return at, h.id, c, list
	}
	return nil, 0, c, nil
}

// batch returns the next change of a room: first of members that others were told of. s.mu must be held.
func (s *Server) batch(at *room) (c backplane.Change, list []action) {
	c = backplane.Change{Knows: at.share.before, Max: at.rule.MaxListed, Prefix: s.cfg.Prefix}
	if at.rule.Silent {
		c.Max = -1
	}
	list = s.collect(at, func(m *member) (kind actionKind, due bool) {
		is := &m.shared
		if is.added || !is.known {
			return 0, false
		}
		if m.present {
			c.Restore = append(c.Restore, backplane.Member(m.Member))
		} else {
			c.Keep = append(c.Keep, backplane.Member(m.Member))
		}
		return restores, true
	})
	if len(list) > 0 || at.share.hold > s.now() {
		return c, list
	}
	c.Knows = at.share.latest()
	return c, s.collect(at, func(m *member) (kind actionKind, due bool) {
		if m.present {
			c.Add = append(c.Add, backplane.Member(m.Member))
			return adds, true
		}
		c.Remove = append(c.Remove, m.ID)
		return removes, true
	})
}

// collect takes up to MaxChange members of a room for which what is due reports that, and forgets about those that have
// nothing to be done.
func (s *Server) collect(at *room, what func(m *member) (actionKind, bool)) (list []action) {
	rest := at.share.dirty[:0]
	for i, m := range at.share.dirty {
		if len(list) == backplane.MaxChange {
			rest = append(rest, at.share.dirty[i:]...)
			break
		}
		is := &m.shared
		if is.added == m.present && (is.added || !is.known) {
			if is.dirty = false; !m.present {
				s.roster.forget(m)
			}
			continue
		}
		kind, due := what(m)
		if !due {
			rest = append(rest, m)
			continue
		}
		is.dirty = false
		list = append(list, action{m, kind})
	}
	clear(at.share.dirty[len(rest):])
	at.share.dirty = rest
	return list
}

// latest returns the latest standing that is known.
func (h *share) latest() backplane.Standing {
	if h.heard.Epoch == h.standing.Epoch && h.heard.Announced > h.standing.Announced {
		return h.heard
	}
	return h.standing
}

// result is what has become of a change.
type result struct {
	backplane.Standing
	err error
}

// changedShared takes the result of a change.
func (s *Server) changedShared(at *room, c backplane.Change, list []action, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at.share.busy = false
	standing := r.Standing
	if r.err != nil {
		for _, one := range list {
			s.mark(one.member)
		}
		return
	}
	lost := c.Knows.Epoch != 0 && c.Knows.Epoch != standing.Epoch
	if lost {
		at.share.hold = s.now() + s.cfg.Lease/3 + time.Second
	}
	switch restored := len(c.Restore)+len(c.Keep) > 0; {
	case lost && !restored: // it has lost the others, too
		s.Interrupted()
	case lost:
		s.stats.Restored++
		fallthrough
	default:
		at.share.standing = standing
	}
	if at.share.expects == 0 {
		s.sharing.expecting = append(s.sharing.expecting, at)
	}
	at.share.expects = s.now() + hearLimit
	for _, one := range list {
		s.applied(one, lost)
	}
	if len(at.share.dirty) > 0 {
		s.line(at)
		return
	}
	s.settleRoom(at)
}

// applied takes the success of an action. A store that has lost its memory only restores. s.mu must be held.
func (s *Server) applied(one action, lost bool) {
	m := one.member
	if !lost || one.kind == restores {
		m.shared.added = one.kind != removes
		m.shared.known = m.shared.added
	}
	switch {
	case m.shared.added != m.present || m.shared.known != m.shared.added:
		s.mark(m)
	case !m.present:
		s.roster.forget(m)
	}
}

// settleRoom notes that a room has no changes that could be made now. s.mu must be held.
func (s *Server) settleRoom(at *room) {
	if len(at.share.dirty) > 0 {
		if !at.share.held {
			at.share.held = true
			s.sharing.held = append(s.sharing.held, at)
		}
		return
	}
	if at.share.entire {
		at.share.entire = false
		s.sharing.left--
	}
	s.roster.tidy(at)
}
