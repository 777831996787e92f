package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/strictjson"
)

const (
	maxIntrospection = 64 << 10         // maximum size of a response in bytes
	maxConcurrent    = 64               // maximum number of concurrent requests
	maxWaiting       = 1024             // maximum number of tokens that wait for a request
	negativeShare    = 6                // a refusal is kept for this fraction of CacheTTL
	maxNegative      = 10 * time.Second // and at most this long
)

// IntrospectConfig configures an Introspector. URL is required; most servers also require ClientID.
type IntrospectConfig struct {
	// URL is the address of the introspection endpoint. It must be https, except for loopback addresses.
	URL string
	// AllowHTTP allows http for all hosts. Set it only if nobody can read the traffic of the network.
	AllowHTTP bool
	// ClientID and ClientSecret authenticate this server at the endpoint, with HTTP Basic.
	ClientID, ClientSecret string
	// Client makes the requests; nil means a client of its own. Redirects to other servers are refused in any case.
	Client *http.Client
	// CacheTTL is how long an answer is kept, at most until the token expires. 0 means 30 s; a negative value means
	// that answers are not kept. A refusal is kept for a sixth of it, and at most 10 s.
	CacheTTL time.Duration
	// MaxEntries is the maximum number of answers kept, and also that of refusals. 0 means 10,000.
	MaxEntries int
	// Timeout is the timeout of a request. 0 means 5 s.
	Timeout time.Duration
	// Issuers, Audiences, Leeway, UserClaim, ScopeClaims and Claims are as in JWTConfig.
	Issuers, Audiences  []string
	Leeway              time.Duration
	UserClaim           string
	ScopeClaims, Claims []string
}

// Introspector is a Verifier of opaque tokens: it asks the server that issued them. RFC 7662. Concurrent calls with the
// same token share a request. Answers are kept for some seconds, under the hash of the token.
type Introspector struct {
	cfg    IntrospectConfig
	remote *remote
	rules  claimRules
	known  *table[*Identity]
	bad    *table[*Error] // separate: made-up tokens must not displace valid ones
	slots  chan struct{}  // one for each concurrent request

	mu     sync.Mutex
	calls  map[tokenKey]*question
	closed bool
	asking sync.WaitGroup // counts the goroutines of calls

	requests, failed, hits, overload atomic.Uint64
}

// question is a pending request about a token.
type question struct {
	done   chan struct{} // closed when the answer has arrived
	id     *Identity
	err    error
	cancel context.CancelFunc
}

// IntrospectStats has the counters of an Introspector.
type IntrospectStats struct {
	Requests   uint64 // requests sent
	Failed     uint64 // requests without a usable response
	Hits       uint64 // tokens answered from the cache, valid or not
	Overloaded uint64 // tokens refused because too many were waiting
	Evicted    uint64 // answers removed early to make room
	Entries    int    // answers in the cache
}

// NewIntrospector returns an Introspector. It fails if cfg.URL is not acceptable. Call Close when it is no longer
// needed.
func NewIntrospector(cfg IntrospectConfig) (*Introspector, error) {
	r, err := newRemote(cfg.URL, cfg.Client, cfg.AllowHTTP)
	if err != nil {
		return nil, fmt.Errorf("auth: introspection: %w", err)
	}
	if cfg.CacheTTL == 0 {
		cfg.CacheTTL = defaultCacheTTL
	}
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = defaultCacheEntries
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	i := &Introspector{
		cfg: cfg, remote: r, calls: make(map[tokenKey]*question), slots: make(chan struct{}, maxConcurrent),
		known: newTable[*Identity](cfg.MaxEntries), bad: newTable[*Error](cfg.MaxEntries),
		rules: claimRules{
			issuers: slices.Clone(cfg.Issuers), audiences: slices.Clone(cfg.Audiences), leeway: cfg.Leeway,
			noExpiry: true, userClaim: cfg.UserClaim, scopeClaims: slices.Clone(cfg.ScopeClaims), keep: slices.Clone(cfg.Claims),
		},
	}
	i.rules.prepare()
	return i, nil
}

// Close cancels the pending requests and waits for them. Later calls of Verify return ReasonUnavailable.
func (i *Introspector) Close() error {
	i.mu.Lock()
	i.closed = true
	for _, q := range i.calls {
		q.cancel()
	}
	i.mu.Unlock()
	i.asking.Wait()
	i.remote.close()
	return nil
}

// Verify asks the endpoint about token, unless the answer is cached. If the endpoint does not know the token, or says
// that it is not active, the error has ReasonUnknown.
func (i *Introspector) Verify(ctx context.Context, token string) (*Identity, error) {
	if len(token) > maxJWT {
		return nil, malformed("the access token is too long", nil)
	}
	key := keyOf(token)
	now := time.Now()
	if id, ok := i.known.get(key, now); ok {
		i.hits.Add(1)
		return id.Clone(), nil
	}
	if err, ok := i.bad.get(key, now); ok {
		i.hits.Add(1)
		return nil, err
	}
	q, err := i.question(ctx, key, token)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.id.Clone(), q.err
	case <-ctx.Done():
		return nil, refuse(ReasonUnavailable, context.Cause(ctx))
	}
}

// errClosed is the cause of refusals after Close.
var errClosed = errors.New("auth: the introspector is closed")

// question returns the pending request about token, and starts one if there is none.
func (i *Introspector) question(ctx context.Context, key tokenKey, token string) (*question, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if q := i.calls[key]; q != nil {
		return q, nil
	}
	if i.closed {
		return nil, refuse(ReasonUnavailable, errClosed)
	}
	if len(i.calls) >= maxConcurrent+maxWaiting {
		i.overload.Add(1)
		return nil, refuse(ReasonOverloaded, nil)
	}
	// The request outlives this client, because others may wait for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Timeout)
	q := &question{done: make(chan struct{}), cancel: cancel}
	i.calls[key] = q
	i.asking.Go(func() { // ends with the timeout or with Close
		defer cancel()
		q.id, q.err = i.ask(ctx, key, token)
		i.mu.Lock()
		delete(i.calls, key)
		i.mu.Unlock()
		close(q.done)
	})
	return q, nil
}

// ask sends the request as soon as there is a slot, and caches the answer.
func (i *Introspector) ask(ctx context.Context, key tokenKey, token string) (*Identity, error) {
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		i.overload.Add(1)
		return nil, refuse(ReasonOverloaded, nil)
	}
	i.requests.Add(1)
	claims, size, err := i.post(ctx, token)
	if err != nil {
		i.failed.Add(1)
		return nil, refuse(ReasonUnavailable, fmt.Errorf("auth: introspection: %w", err))
	}
	id, err := i.judge(claims, size, token)
	now := time.Now()
	if err == nil {
		if until := earlier(now.Add(i.cfg.CacheTTL), id.End()); now.Before(until) {
			i.known.put(key, id, until)
		}
		return id, nil
	}
	if ttl := min(i.cfg.CacheTTL/negativeShare, maxNegative); ttl > 0 {
		i.bad.put(key, AsError(err), now.Add(ttl))
	}
	return nil, err
}

// post sends the request. RFC 7662 §2.1.
func (i *Introspector) post(ctx context.Context, token string) (claims map[string]any, size int, err error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.remote.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i.cfg.ClientID != "" { // RFC 6749 §2.3.1: both are form-encoded
		req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	}
	b, err := i.remote.do(req, maxIntrospection)
	if err != nil {
		return nil, 0, err
	}
	claims, err = strictjson.Object(b)
	if err != nil {
		return nil, 0, fmt.Errorf("the response of %s: %w", i.remote.host, err)
	}
	if _, ok := claims["active"].(bool); !ok {
		return nil, 0, errors.New(i.remote.host + " does not say whether the token is active")
	}
	return claims, len(b), nil
}

// judge makes an Identity of an answer. RFC 7662 §2.2.
func (i *Introspector) judge(claims map[string]any, size int, token string) (*Identity, error) {
	if claims["active"] != true {
		return nil, &Error{Reason: ReasonUnknown, Message: "the access token is unknown or not active"}
	}
	delete(claims, "active")
	return i.rules.identity(claims, size, token)
}

// Stats returns the current counters.
func (i *Introspector) Stats() IntrospectStats {
	s := IntrospectStats{
		Requests: i.requests.Load(), Failed: i.failed.Load(), Hits: i.hits.Load(), Overloaded: i.overload.Load(),
	}
	good, evicted := i.known.size()
	bad, evictedBad := i.bad.size()
	s.Entries, s.Evicted = good+bad, evicted+evictedBad
	return s
}

var _ Verifier = (*Introspector)(nil)
