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
	maxIntrospection = 64 << 10         // bytes of an answer
	maxConcurrent    = 64               // requests at a time
	maxWaiting       = 1024             // tokens that wait for their request
	negativeShare    = 6                // a refusal is kept for this part of the time
	maxNegative      = 10 * time.Second // and never longer
)

// IntrospectConfig says who knows the tokens. URL is required, and ClientID most often.
type IntrospectConfig struct {
	// URL is that of the introspection endpoint, with https; http is for loopback.
	URL string
	// AllowHTTP accepts http for other hosts, in a network where nobody can read what is sent.
	AllowHTTP bool
	// ClientID and ClientSecret are what this server shows to the endpoint, as HTTP Basic.
	ClientID, ClientSecret string
	// Client makes the requests; nil is one of its own. Redirects to other servers are refused with any.
	Client *http.Client
	// CacheTTL is how long an answer is good, at most until the token expires; 0 is 30 s, negative is not at all. A
	// refusal is good for a sixth of it.
	CacheTTL time.Duration
	// MaxEntries is the largest number of answers that are kept, and the same of refusals; 0 is 10,000.
	MaxEntries int
	// Timeout bounds a question; 0 is 5 s.
	Timeout time.Duration
	// Issuers, Audiences, Leeway, UserClaim, ScopeClaims and Claims are those of JWTConfig.
	Issuers, Audiences  []string
	Leeway              time.Duration
	UserClaim           string
	ScopeClaims, Claims []string
}

// Introspector is a Verifier of opaque tokens: it asks whoever made them. RFC 7662. Equal tokens at the same time are
// one question, answers are kept for some seconds, and only under the token's hash.
type Introspector struct {
	cfg    IntrospectConfig
	remote *remote
	rules  claimRules
	known  *table[*Identity]
	bad    *table[*Error] // of its own: made up tokens shall not push real ones out
	slots  chan struct{}  // one for each request at a time

	mu     sync.Mutex
	calls  map[tokenKey]*question
	closed bool
	asking sync.WaitGroup // a goroutine for each of calls

	requests, failed, hits, overload atomic.Uint64
}

// question is one that is under way.
type question struct {
	done   chan struct{} // closed when the answer is there
	id     *Identity
	err    error
	cancel context.CancelFunc
}

// IntrospectStats are the counters of an Introspector.
type IntrospectStats struct {
	Requests   uint64 // that were sent
	Failed     uint64 // of them: without an answer that makes sense
	Hits       uint64 // tokens that were known, good or bad
	Overloaded uint64 // tokens that were refused because too many waited
	Evicted    uint64 // answers that had to go for others before their time
	Entries    int    // answers that are kept
}

// NewIntrospector makes a Verifier. It fails if the address is not accepted. Close it when it is no longer used.
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

// Close gives up the questions that are under way. What is asked from then on is unavailable.
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

// Verify is part of Verifier. A token that the endpoint does not know, or knows as not good, is ReasonUnknown.
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

// errClosed is the cause when somebody asks behind Close.
var errClosed = errors.New("auth: the introspector is closed")

// question finds the one about this token that is under way, or asks it.
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
	// Others may wait for the answer when this client has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Timeout)
	q := &question{done: make(chan struct{}), cancel: cancel}
	i.calls[key] = q
	i.asking.Go(func() { // ends with the timeout or with Close, whichever comes first
		defer cancel()
		q.id, q.err = i.ask(ctx, key, token)
		i.mu.Lock()
		delete(i.calls, key)
		i.mu.Unlock()
		close(q.done)
	})
	return q, nil
}

// ask makes the request when it is its turn, and keeps the answer.
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

// post asks the endpoint. RFC 7662 §2.1.
func (i *Introspector) post(ctx context.Context, token string) (claims map[string]any, size int, err error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.remote.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i.cfg.ClientID != "" { // RFC 6749 §2.3.1: encoded as in a form, both of them
		req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	}
	b, err := i.remote.do(req, maxIntrospection)
	if err != nil {
		return nil, 0, err
	}
	claims, err = strictjson.Object(b)
	if err != nil {
		return nil, 0, fmt.Errorf("%s answers %w", i.remote.host, err)
	}
	if _, ok := claims["active"].(bool); !ok {
		return nil, 0, errors.New(i.remote.host + " does not say whether the token is active")
	}
	return claims, len(b), nil
}

// judge makes an Identity of an answer. RFC 7662 §2.2.
func (i *Introspector) judge(claims map[string]any, size int, token string) (*Identity, error) {
	if claims["active"] != true {
		return nil, &Error{Reason: ReasonUnknown, Message: "the access token is not known, not any more, or not yet"}
	}
	delete(claims, "active")
	return i.rules.identity(claims, size, token)
}

// Stats are the counters as they are now.
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
