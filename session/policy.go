package session

import (
	"slices"
	"time"
)

// Policy are the rules for the sessions of a user.
type Policy struct {
	// TTL is how long a session lives after it was last attached, touched or detached. 0 means DefaultTTL. Values
	// outside of MinTTL and MaxTTL are replaced by the nearest of the two.
	TTL time.Duration
	// MaxPerUser is the largest number of sessions of a named user. 0 means no limit.
	MaxPerUser int
	// Refuse protects connected sessions: if a new session could only be made by deleting one of them, Store.Attach
	// fails with ErrTooManySessions. Otherwise, the connected session that was created first is deleted.
	Refuse bool
	// Stale limits the protection by Refuse: a session that was not touched for so long counts as disconnected. 0 means
	// no limit.
	Stale time.Duration
}

// Lifetime returns the TTL in force, with the default and the limits applied.
func (p Policy) Lifetime() time.Duration {
	if p.TTL <= 0 {
		return DefaultTTL
	}
	return ClampTTL(p.TTL)
}

// Victims returns the sessions that must be deleted, in this order, to make room for one more than those in list, which
// are all other live sessions of the same named user, sorted by Created. Disconnected sessions come first, the one with
// the earliest Seen before the others; then the connected ones, in the order of their creation. If the policy protects
// some of them, Victims returns the others and ErrTooManySessions. It sorts list.
func (p Policy) Victims(list []Session, now time.Time) ([]Session, error) {
	need := len(list) - p.MaxPerUser + 1
	if p.MaxPerUser <= 0 || need <= 0 {
		return nil, nil
	}
	connected := func(s Session) bool {
		stale := p.Refuse && p.Stale > 0 && !s.Seen.Add(p.Stale).After(now)
		return !s.Place.IsZero() && !stale
	}
	slices.SortStableFunc(list, func(a, b Session) int {
		switch ca, cb := connected(a), connected(b); {
		case ca && cb:
			return a.Created.Compare(b.Created)
		case !ca && !cb:
			return a.Seen.Compare(b.Seen)
		case ca:
			return 1
		default:
			return -1
		}
	})
	if p.Refuse {
		if free := slices.IndexFunc(list, connected); free >= 0 && free < need {
			return list[:free], ErrTooManySessions
		}
	}
	return list[:need], nil
}

// ClampTTL returns d, or the nearest of MinTTL and MaxTTL if d is outside of them.
func ClampTTL(d time.Duration) time.Duration { return min(max(d, MinTTL), MaxTTL) }
