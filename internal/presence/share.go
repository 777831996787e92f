package presence

import (
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// hearLimit is how long an announcement may take that the store has made.
const hearLimit = 2 * time.Second

// share is what a room has in addition.
type share struct {
	home     *part
	standing backplane.Standing // the latest that the store has told
	before   backplane.Standing // the one before this attendance
	heard    backplane.Standing // of the latest announcement
	dirty    []*member          // that may have to be changed
	ready    bool               // in part.ready
	held     bool               // in part.held
	busy     bool               // a change is under way
	entire   bool               // it counts in part.left
	hold     time.Duration      // until when others add their members again to a store that has lost its memory
	expects  time.Duration      // when standing must have been heard; 0 is nothing
	loss     loss
}

// loss is what is compared some time after the store has lost its memory: members of a machine that has died meanwhile
// are not there any more, and nobody was told that they left. Those whose coming was not heard are there.
type loss struct {
	knew int           // members before; 0: there is nothing to compare
	at   time.Duration // when all that others have changed since was heard
	net  int           // joins less leaves that were heard in the latest epoch
}

func (l *loss) due(now time.Duration) bool { return l.knew > 0 && l.at <= now }

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
	s.home(at).line(at)
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
	if c.Knows = at.share.latest(); at.share.loss.due(s.now()) {
		return c, nil
	}
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
		at.share.hold = s.now() + s.settling()
		at.share.loss.knew, at.share.loss.at = max(at.share.loss.knew, c.Knows.Count), at.share.hold+hearLimit
	}
	switch restored := len(c.Restore)+len(c.Keep) > 0; {
	case lost && !restored: // it has lost the others, too
		s.home(at).interrupt()
	case lost:
		s.stats.Restored++
		fallthrough
	default:
		at.share.standing = standing
	}
	if len(list) == 0 && !lost {
		s.compare(at)
	}
	if at.share.expects == 0 {
		p := s.home(at)
		p.expecting = append(p.expecting, at)
	}
	at.share.expects = s.now() + hearLimit
	for _, one := range list {
		s.applied(one, lost)
	}
	if len(at.share.dirty) > 0 {
		s.home(at).line(at)
		return
	}
	s.settleRoom(at)
}

// compare tells of members that have gone with the memory of the store, or had come just before. s.mu must be held.
func (s *Server) compare(at *room) {
	l, now := &at.share.loss, at.share.standing
	if at.share.heard.Epoch != now.Epoch {
		l.net = 0
	}
	stay := now.Count - l.net
	if n := max(l.knew-stay, stay-l.knew); n > 0 && l.knew <= at.rule.MaxListed {
		s.miss(at, uint64(n))
	}
	l.knew = 0
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
	if (len(at.share.dirty) > 0 || at.share.loss.knew > 0) && !at.share.held {
		at.share.held = true
		p := s.home(at)
		p.held = append(p.held, at)
	}
	if len(at.share.dirty) > 0 {
		return
	}
	if at.share.entire {
		at.share.entire = false
		s.home(at).left--
	}
	s.roster.tidy(at)
}
