package auth

import (
	"context"
	"sync/atomic"
	"time"
)

// Defaults of NewCache.
const (
	defaultCacheEntries = 10_000
	defaultCacheTTL     = 30 * time.Second
)

// Cache is a Verifier that remembers what another one has found genuine: when many clients come back at once, most with
// a token that was seen before, no signature is checked twice. Refusals are not kept. Only hashes of tokens are.
type Cache struct {
	verifier Verifier
	ttl      time.Duration
	known    *table[*Identity]

	hits, misses atomic.Uint64
}

// CacheStats are the counters of a Cache.
type CacheStats struct {
	Hits, Misses uint64
	Evicted      uint64 // entries that had to go for others before their time
	Entries      int
}

// NewCache makes a Cache of at most limit tokens, each kept for ttl and never beyond its End; 0 is 10,000 and 30 s.
// For so long a token stays good although its key is gone; whether it was revoked is for the caller to look up.
func NewCache(v Verifier, limit int, ttl time.Duration) *Cache {
	if limit <= 0 {
		limit = defaultCacheEntries
	}
	if ttl <= 0 {
		ttl = defaultCacheTTL
	}
	return &Cache{verifier: v, ttl: ttl, known: newTable[*Identity](limit)}
}

// Verify is part of Verifier.
func (c *Cache) Verify(ctx context.Context, token string) (*Identity, error) {
	key := keyOf(token)
	if id, ok := c.known.get(key, time.Now()); ok {
		c.hits.Add(1)
		return id.Clone(), nil
	}
	c.misses.Add(1)
	id, err := c.verifier.Verify(ctx, token)
	if err != nil || id == nil {
		return id, err
	}
	now := time.Now()
	if until := earlier(now.Add(c.ttl), id.End()); now.Before(until) {
		c.known.put(key, id.Clone(), until)
	}
	return id, nil
}

// check is that of the Verifier behind.
func (c *Cache) check() error { return Check(c.verifier) }

// earlier is the end of what was to last until then, but no longer than end; a zero end is never.
func earlier(until, end time.Time) time.Time {
	if !end.IsZero() && end.Before(until) {
		return end
	}
	return until
}

// Clear forgets all tokens, when keys have changed.
func (c *Cache) Clear() { c.known.clear() }

// Stats are the counters as they are now.
func (c *Cache) Stats() CacheStats {
	s := CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load()}
	s.Entries, s.Evicted = c.known.size()
	return s
}

var _ Verifier = (*Cache)(nil)
