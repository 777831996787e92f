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
	firstRetry         = 5 * time.Second // after a fetch that failed; then twice that, and so on
	impatientRetry     = time.Second     // while there is no key yet, and clients wait for one
	refreshJitter      = 10              // a tenth of the time: workers shall not ask in step
)

// JWKSConfig says where a provider publishes its keys. Only URL is required.
type JWKSConfig struct {
	// URL is that of the JWK set, with https; http is for loopback.
	URL string
	// AllowHTTP accepts http for other hosts, in a network where nobody can change what is sent.
	AllowHTTP bool
	// Client makes the requests; nil is one of its own. Redirects to other servers are refused with any.
	Client *http.Client
	// Refresh is how old keys may become; 0 is 15 min.
	Refresh time.Duration
	// MaxBytes is the largest answer; 0 is 1 MiB.
	MaxBytes int64
	// MinInterval is the time between two fetches for the sake of a key that is not known, or has not signed a token that
	// names it; 0 is 1 min. Anybody can make up such tokens.
	MinInterval time.Duration
	// Timeout bounds a request; 0 is 5 s.
	Timeout time.Duration
	// OnError hears of each fetch that failed, on a goroutine of the JWKS. It must not block; nil is nobody. The error is
	// ErrNoKeys if there are none from before.
	OnError func(error)
}

// JWKS is a KeySource that follows a provider's JWK set. It keeps its keys while the provider is down, and starts
// without any if that is down at the start. Secrets in the set are ignored, as everybody can read them. RFC 7517 §5.
type JWKS struct {
	cfg    JWKSConfig
	remote *remote
	cancel context.CancelFunc
	wake   chan struct{} // told when somebody wants a fetch
	done   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	keys     KeySet
	set      []byte        // that they were read from
	fault    error         // of the latest fetch
	round    chan struct{} // closed at the end of the fetch that is under way or wanted; nil without
	tried    time.Time     // when the latest fetch ended
	asked    time.Time     // when a key was not known
	stats    JWKSStats
	failures int // in a row
}

// JWKSStats are the counters of a JWKS.
type JWKSStats struct {
	Fetches, Failed uint64
	Limited         uint64    // tokens for whose key MinInterval forbade to ask
	Keys            int       // that can be used
	Updated         time.Time // when they came; the zero Time is never
}

// NewJWKS begins to follow a provider. It does not wait for the keys, and fails only if the address is not accepted.
// Close it.
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

// Close ends the goroutine and gives up a fetch that is under way. The keys stay good.
func (j *JWKS) Close() error {
	j.cancel()
	<-j.done
	j.remote.close()
	return nil
}

// Keys is part of KeySource. It waits for a fetch if there are no keys yet, or none with the ID kid. A key without an
// ID is taken for a kid only if it is the only one. A token without a kid is tried with the keys that are there. It
// fails if there never were keys.
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

// missing is an error if there never were keys.
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

// find looks a key up. With j.mu held.
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

// lookUp finds keys; or the end of the fetch to wait for, if that may bring some.
func (j *JWKS) lookUp(kid string, now time.Time) (found []Key, round <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if found = j.find(kid); len(found) > 0 {
		return found, nil
	}
	return nil, j.demand(now)
}

// demand is the end of the fetch that is under way, or of one that it asks for; nil if none is allowed now. With j.mu
// held.
func (j *JWKS) demand(now time.Time) <-chan struct{} {
	switch {
	case j.round != nil: // one is under way
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

// renew is part of renewer: a provider may give an ID to a new key that another one had. It waits for a fetch, of which
// there is one in MinInterval, as for an ID that is not known.
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

// run fetches at the start, when the keys are old, and when somebody asks. All fetches are its own: there is never more
// than one.
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

// begin makes a round that others can wait for, if nobody has.
func (j *JWKS) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.round == nil {
		j.round = make(chan struct{})
	}
}

// end takes the keys, if some came, tells those who wait, and says when to fetch again.
func (j *JWKS) end(keys KeySet, set []byte, err error) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tried, j.fault = time.Now(), err
	j.stats.Fetches++
	close(j.round)
	j.round = nil
	select { // who asked meanwhile has got this round
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

// fetch asks the provider. It returns the answer, too.
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

// Stats are the counters as they are now.
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
