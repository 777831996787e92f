// Package denylist holds what was revoked before its time: users, tokens and sessions that are not admitted, each
// until a given moment.
package denylist

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Kind is the kind of thing that an Entry denies. Its values are part of the encoded form and of feeds.
type Kind string

// The kinds.
const (
	User    Kind = "user"
	Token   Kind = "token" // by auth.Identity.TokenID
	Session Kind = "session"
)

// Entry denies a user, a token or a session until a given moment.
type Entry struct {
	Kind  Kind      `json:"kind"`
	Value string    `json:"value"`
	Until time.Time `json:"until"`
}

// Limits of a List.
const (
	// DefaultMax is the maximum number of entries of a List whose Max is 0.
	DefaultMax = 100_000
	// maxValue is the maximum length of Entry.Value in bytes.
	maxValue = 4 << 10
)

// Errors of List.Add and Parse.
var (
	// ErrFull means that a List holds its maximum of entries, and that none of them has expired.
	ErrFull = errors.New("denylist: the list is full")
	// ErrEntry means that an entry has no value, an unknown kind or a value that is too long, or is not well formed.
	ErrEntry = errors.New("denylist: bad entry")
)

// List is a set of entries, which disappear when they expire. The zero List is empty and ready for use. It is safe for
// concurrent use.
type List struct {
	// Max is the maximum number of entries; 0 means DefaultMax. Set it before the first use.
	Max int

	mu      sync.RWMutex
	entries map[string]int64 // kind, 0, value: expiry, in seconds since 1970
	refused uint64
}

func key(kind Kind, value string) string { return string(kind) + "\x00" + value }

// Add adds an entry, or extends the one of the same kind and value. An entry that has expired is ignored. Add returns
// ErrFull if there is no room, and ErrEntry if the entry is not valid.
func (l *List) Add(e Entry, now time.Time) error {
	if e.Kind != User && e.Kind != Token && e.Kind != Session {
		return fmt.Errorf("%w: of kind %q", ErrEntry, e.Kind)
	}
	if e.Value == "" || len(e.Value) > maxValue {
		return fmt.Errorf("%w: a value of %d bytes", ErrEntry, len(e.Value))
	}
	until := e.Until.Unix()
	if until <= now.Unix() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = make(map[string]int64)
	}
	k := key(e.Kind, e.Value)
	_, known := l.entries[k]
	if limit := l.limit(); !known && len(l.entries) >= limit {
		l.sweep(now)
		if len(l.entries) >= limit {
			l.refused++
			return ErrFull
		}
	}
	l.entries[k] = max(until, l.entries[k])
	return nil
}

func (l *List) limit() int {
	if l.Max > 0 {
		return l.Max
	}
	return DefaultMax
}

// Denies reports whether one of the three is on the list, and which. Empty arguments match nothing.
func (l *List) Denies(user, tokenID, session string, now time.Time) (Kind, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.entries) == 0 {
		return "", false
	}
	for _, e := range [...]struct {
		kind  Kind
		value string
	}{{User, user}, {Token, tokenID}, {Session, session}} {
		if e.value != "" && l.entries[key(e.kind, e.value)] > now.Unix() {
			return e.kind, true
		}
	}
	return "", false
}

// Len returns the number of entries, including those that have expired and were not removed yet.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.entries)
}

// Refused returns how many calls of Add returned ErrFull.
func (l *List) Refused() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.refused
}

// Sweep removes the entries that have expired.
func (l *List) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
}

func (l *List) sweep(now time.Time) {
	for k, until := range l.entries {
		if until <= now.Unix() {
			delete(l.entries, k)
		}
	}
}

// All returns the entries that have not expired, in no particular order.
func (l *List) All(now time.Time) []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]Entry, 0, len(l.entries))
	for k, until := range l.entries {
		if until > now.Unix() {
			kind, value, _ := strings.Cut(k, "\x00")
			list = append(list, Entry{Kind(kind), value, time.Unix(until, 0)})
		}
	}
	return list
}
