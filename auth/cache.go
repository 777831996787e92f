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

// Cache is a Verifier that remembers the valid tokens of another one: when many clients reconnect at once, most with a
// token that was seen before, no signature is checked twice. It keeps no refusals, and only hashes of tokens.
type Cache struct {
	verifier Verifier
	ttl      time.Duration
	known    *table[*Identity]

	hits, misses atomic.Uint64
}

// CacheStats has the counters of a Cache.
type CacheStats struct {
	Hits, Misses uint64
	Evicted      uint64 // entries removed early to make room
	Entries      int
}

// NewCache returns a Cache of at most limit tokens, each kept for ttl and never beyond its Identity.End. 0 means 10,000
// tokens and 30 s. During ttl a token stays valid even if its key was removed. The Cache does not know about
// revocations: the caller checks those.
func NewCache(v Verifier, limit int, ttl time.Duration) *Cache {
	if limit <= 0 {
		limit = defaultCacheEntries
	}
	if ttl <= 0 {
		ttl = defaultCacheTTL
	}
	return &Cache{verifier: v, ttl: ttl, known: newTable[*Identity](limit)}
}

// Verify returns the cached Identity of token, or asks the underlying Verifier.
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

// check checks the underlying Verifier.
func (c *Cache) check() error { return Check(c.verifier) }

// earlier returns the earlier of until and end. A zero end means never.
func earlier(until, end time.Time) time.Time {
	if !end.IsZero() && end.Before(until) {
		return end
	}
	return until
}

// Clear removes all tokens. Call it when keys were removed.
func (c *Cache) Clear() { c.known.clear() }

// Stats returns the current counters.
func (c *Cache) Stats() CacheStats {
	s := CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load()}
	s.Entries, s.Evicted = c.known.size()
	return s
}

var _ Verifier = (*Cache)(nil)
