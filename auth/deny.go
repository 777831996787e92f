package auth

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// DenyKind says what a Denial names.
type DenyKind string

// The kinds of denials.
const (
	DenyUser    DenyKind = "user"
	DenyToken   DenyKind = "token" // by Identity.TokenID
	DenySession DenyKind = "session"
)

// Denial is one entry of a DenyList: what is not let in until its time is over.
type Denial struct {
	Kind  DenyKind  `json:"kind"`
	Value string    `json:"value"`
	Until time.Time `json:"until"`
}

// Limits of a DenyList.
const (
	// DefaultMaxDenials is the number of entries of a DenyList that names none.
	DefaultMaxDenials = 100_000
	// maxDenialValue is the longest value of an entry in bytes.
	maxDenialValue = 4 << 10
)

// Errors of DenyList.Add.
var (
	// ErrDenyListFull says that a DenyList holds as many entries as it may, all of them in force.
	ErrDenyListFull = errors.New("auth: the deny list is full")
	// ErrDenial says that an entry has no value, an unknown kind, or is too long.
	ErrDenial = errors.New("auth: bad denial")
)

// DenyList is what was revoked before its time. Entries go by themselves when their time is over. The zero value is
// empty and ready. Any goroutine.
type DenyList struct {
	// Max is the number of entries; 0 is DefaultMaxDenials. Before the first use.
	Max int

	mu      sync.RWMutex
	entries map[string]int64 // kind, 0, value: until when, in seconds
	refused uint64
}

func denyKey(kind DenyKind, value string) string { return string(kind) + "\x00" + value }

// Add puts an entry on the list, or makes one that is there last longer. It fails with ErrDenyListFull and ErrDenial.
// An entry whose time is over is none.
func (l *DenyList) Add(d Denial, now time.Time) error {
	if d.Kind != DenyUser && d.Kind != DenyToken && d.Kind != DenySession {
		return fmt.Errorf("%w: of kind %q", ErrDenial, d.Kind)
	}
	if d.Value == "" || len(d.Value) > maxDenialValue {
		return fmt.Errorf("%w: a value of %d bytes", ErrDenial, len(d.Value))
	}
	until := d.Until.Unix()
	if until <= now.Unix() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = make(map[string]int64)
	}
	key := denyKey(d.Kind, d.Value)
	_, known := l.entries[key]
	if limit := l.limit(); !known && len(l.entries) >= limit {
		l.sweep(now)
		if len(l.entries) >= limit {
			l.refused++
			return ErrDenyListFull
		}
	}
	l.entries[key] = max(until, l.entries[key])
	return nil
}

func (l *DenyList) limit() int {
	if l.Max > 0 {
		return l.Max
	}
	return DefaultMaxDenials
}

// Denies says whether a client with these names is on the list. Empty ones are none.
func (l *DenyList) Denies(user, tokenID, session string, now time.Time) (DenyKind, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.entries) == 0 {
		return "", false
	}
	for _, d := range [...]struct {
		kind  DenyKind
		value string
	}{{DenyUser, user}, {DenyToken, tokenID}, {DenySession, session}} {
		if d.value != "" && l.entries[denyKey(d.kind, d.value)] > now.Unix() {
			return d.kind, true
		}
	}
	return "", false
}

// Len is the number of entries, those included whose time is over and that are not swept yet.
func (l *DenyList) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.entries)
}

// Refused counts the entries that found the list full.
func (l *DenyList) Refused() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.refused
}

// Sweep forgets entries whose time is over.
func (l *DenyList) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
}

func (l *DenyList) sweep(now time.Time) {
	for key, until := range l.entries {
		if until <= now.Unix() {
			delete(l.entries, key)
		}
	}
}

// All are the entries that are in force, in no order.
func (l *DenyList) All(now time.Time) []Denial {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]Denial, 0, len(l.entries))
	for key, until := range l.entries {
		if until > now.Unix() {
			kind, value, _ := strings.Cut(key, "\x00")
			list = append(list, Denial{DenyKind(kind), value, time.Unix(until, 0)})
		}
	}
	return list
}
