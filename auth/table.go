package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// tokenKey identifies a token in a table.
type tokenKey [sha256.Size]byte

func keyOf(token string) tokenKey { return sha256.Sum256([]byte(token)) }

// table is a cache of limited size: each value has an expiry, and the least recently used one is removed first. It is
// safe for concurrent use.
type table[V any] struct {
	limit int

	mu      sync.Mutex
	entries map[tokenKey]*list.Element // of *entry[V]
	used    list.List                  // most recently used first
	evicted uint64
}

type entry[V any] struct {
	key   tokenKey
	value V
	until time.Time
}

func newTable[V any](limit int) *table[V] {
	return &table[V]{limit: limit, entries: make(map[tokenKey]*list.Element)}
}

// get returns a value that has not expired.
func (t *table[V]) get(key tokenKey, now time.Time) (value V, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	el, ok := t.entries[key]
	if !ok {
		return value, false
	}
	e := el.Value.(*entry[V])
	if !now.Before(e.until) {
		t.remove(el)
		return value, false
	}
	t.used.MoveToFront(el)
	return e.value, true
}

// put stores a value until the given time.
func (t *table[V]) put(key tokenKey, value V, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if el, ok := t.entries[key]; ok {
		t.remove(el)
	}
	if len(t.entries) >= t.limit {
		t.remove(t.used.Back())
		t.evicted++
	}
	t.entries[key] = t.used.PushFront(&entry[V]{key, value, until})
}

// remove removes an entry. t.mu must be held.
func (t *table[V]) remove(el *list.Element) {
	delete(t.entries, el.Value.(*entry[V]).key)
	t.used.Remove(el)
}

// clear removes all entries.
func (t *table[V]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.entries)
	t.used.Init()
}

// size returns the number of entries, and how many were removed early to make room.
func (t *table[V]) size() (entries int, evicted uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries), t.evicted
}
