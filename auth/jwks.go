package auth

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	defaultRefresh     = 15 * time.Minute
	defaultMinInterval = time.Minute
	firstRetry         = 5 * time.Second // delay after a failed fetch; it doubles with each further failure
	impatientRetry     = time.Second     // delay while there are no keys yet and clients wait for them
	refreshJitter      = 10              // up to a tenth is subtracted at random, so that workers do not fetch in step
)

// JWKSConfig configures a JWKS. Only URL is required.
type JWKSConfig struct {
	// URL is the address of the JWK set. It must be https, except for loopback addresses.
	URL string
	// AllowHTTP allows http for all hosts. Set it only if nobody can change the traffic of the network.
	AllowHTTP bool
	// Client makes the requests; nil means a client of its own. Redirects to other servers are refused in any case.
	Client *http.Client
	// Refresh is the maximum age of the keys. 0 means 15 min.
	Refresh time.Duration
	// MaxBytes is the maximum size of a response. 0 means 1 MiB.
	MaxBytes int64
	// MinInterval is the minimum time between two fetches that a token causes, because its key is unknown or has not
	// signed it. Anybody can make up such tokens. 0 means 1 min.
	MinInterval time.Duration
	// Timeout is the timeout of a request. 0 means 5 s.
	Timeout time.Duration
	// OnError, if not nil, is called after each failed fetch, on the goroutine of the JWKS. It must not block. If there
	// are no keys from an earlier fetch, the error is ErrNoKeys.
	OnError func(error)
}

// JWKS is a KeySource that fetches the JWK set of a provider and refreshes it. While the provider is unreachable, it
// keeps its keys; if the provider is unreachable at the start, it has none. It ignores secrets in the set, as everybody
// can read them. RFC 7517 §5.
type JWKS struct {
	cfg    JWKSConfig
	remote *remote
	cancel context.CancelFunc
	wake   chan struct{} // requests a fetch
	done   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	keys     KeySet
	set      []byte        // the JSON of keys
	fault    error         // error of the latest fetch
	round    chan struct{} // closed at the end of the current or requested fetch; nil if there is none
	tried    time.Time     // end of the latest fetch
	asked    time.Time     // latest request because of an unknown key
	stats    JWKSStats
	failures int // in a row
}

// JWKSStats has the counters of a JWKS.
type JWKSStats struct {
	Fetches, Failed uint64
	Limited         uint64    // lookups that MinInterval kept from a fetch
	Keys            int       // usable keys
	Updated         time.Time // time of the latest successful fetch; zero if there was none
}

// NewJWKS returns a JWKS and starts to fetch the keys, without waiting for them. It fails only if cfg.URL is not
// acceptable. Call Close when the JWKS is no longer needed.
func NewJWKS(cfg JWKSConfig) (*JWKS, error) {
	r, err := newRemote(cfg.URL, cfg.Client, cfg.AllowHTTP)
	if err != nil {
		return nil, fmt.Errorf("auth: JWKS: %w", err)
	}
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{{&cfg.Refresh, defaultRefresh}, {&cfg.MinInterval, defaultMinInterval}, {&cfg.Timeout, defaultTimeout}} {
		if *d.value <= 0 {
			*d.value = d.zero
		}
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = maxKeyFile
	}
	ctx, cancel := context.WithCancel(context.Background())
	j := &JWKS{
		cfg: cfg, remote: r, cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{}),
		round: make(chan struct{}),
	}
	go j.run(ctx) // ends with Close
	return j, nil
}

// Close cancels a fetch in progress and ends the goroutine. The keys stay usable.
func (j *JWKS) Close() error {
	j.cancel()
	<-j.done
	j.remote.close()
	return nil
}

// Keys returns the keys with the ID kid, or all keys if kid is empty. If there are no keys yet, or none with that ID,
// it waits for a fetch. A key without an ID is returned for a kid only if it is the only key. Keys fails if no fetch
// has succeeded yet.
func (j *JWKS) Keys(ctx context.Context, kid string) ([]Key, error) {
	found, round := j.lookUp(kid, time.Now())
	if round == nil {
		return found, j.missing()
	}
	select {
	case <-round:
	case <-j.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("auth: JWKS: %w", context.Cause(ctx))
	}
	j.mu.Lock()
	found = j.find(kid)
	j.mu.Unlock()
	return found, j.missing()
}

// missing returns an error if no fetch has succeeded yet.
func (j *JWKS) missing() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.keys != nil {
		return nil
	}
	if j.fault != nil {
		return fmt.Errorf("auth: JWKS: %w: %w", ErrNoKeys, j.fault)
	}
	return fmt.Errorf("auth: JWKS: %w", ErrNoKeys)
}

// find looks up keys. j.mu must be held.
func (j *JWKS) find(kid string) []Key {
	if kid == "" {
		return j.keys
	}
	if found := j.keys.called(kid); found != nil {
		return found
	}
	if len(j.keys) == 1 { // a provider with one key need not name it
		return j.keys.called("")
	}
	return nil
}

// lookUp returns keys, or the end of a fetch that may bring some.
func (j *JWKS) lookUp(kid string, now time.Time) (found []Key, round <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if found = j.find(kid); len(found) > 0 {
		return found, nil
	}
	return nil, j.demand(now)
}

// demand returns the end of the current fetch, or of one that it requests. It returns nil if no fetch is allowed now.
// j.mu must be held.
func (j *JWKS) demand(now time.Time) <-chan struct{} {
	switch {
	case j.round != nil: // a fetch is in progress
		return j.round
	case j.keys == nil && now.Sub(j.tried) < impatientRetry:
		return nil
	case j.keys != nil && now.Sub(j.asked) < j.cfg.MinInterval:
		j.stats.Limited++
		return nil
	}
	j.asked = now
	j.round = make(chan struct{})
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return j.round
}

// renew looks for newer keys, because a provider may reuse the ID of an old key. As for an unknown ID, MinInterval
// limits the fetches.
func (j *JWKS) renew(ctx context.Context, since time.Time) bool {
	j.mu.Lock()
	newer := !j.stats.Updated.Before(since)
	var round <-chan struct{}
	if !newer && j.keys != nil {
		round = j.demand(time.Now())
	}
	j.mu.Unlock()
	if round == nil {
		return newer
	}
	select {
	case <-round:
	case <-j.done:
	case <-ctx.Done():
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.stats.Updated.Before(since)
}

// run fetches at the start, when the keys are old, and on request. Only run fetches, so there is at most one fetch at a
// time.
func (j *JWKS) run(ctx context.Context) {
	defer close(j.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-j.wake:
		case <-ctx.Done():
			return
		}
		j.begin()
		keys, set, err := j.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(j.end(keys, set, err))
		if err != nil && j.cfg.OnError != nil {
			if missing := j.missing(); missing != nil {
				err = missing
			} else {
				err = fmt.Errorf("auth: JWKS: %w", err)
			}
			j.cfg.OnError(err)
		}
	}
}

// begin creates the round that others can wait for, unless one was requested already.
func (j *JWKS) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.round == nil {
		j.round = make(chan struct{})
	}
}

// end stores the keys, if there are new ones, wakes those that wait, and returns the delay before the next fetch.
func (j *JWKS) end(keys KeySet, set []byte, err error) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tried, j.fault = time.Now(), err
	j.stats.Fetches++
	close(j.round)
	j.round = nil
	select { // requests made during this fetch are served by it
	case <-j.wake:
	default:
	}
	next := j.cfg.Refresh
	if err != nil {
		j.stats.Failed++
		next = min(next, firstRetry<<min(j.failures, 10))
		j.failures++
	} else {
		j.failures, j.keys, j.set, j.stats.Updated = 0, keys, set, j.tried
	}
	return next - rand.N(next/refreshJitter+1)
}

// fetch requests the set and returns its keys and its JSON.
func (j *JWKS) fetch(ctx context.Context) (KeySet, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.remote.url, nil)
	if err != nil {
		return nil, nil, err
	}
	b, err := j.remote.do(req, j.cfg.MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	keys, err := parseSet(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", j.remote.host, err)
	}
	return keys, b, nil
}

// Stats returns the current counters.
func (j *JWKS) Stats() JWKSStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Keys = len(j.keys)
	return s
}

var (
	_ KeySource = (*JWKS)(nil)
	_ renewer   = (*JWKS)(nil)
)
