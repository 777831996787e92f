package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// JWTConfig says which JSON Web Tokens are accepted. Only Keys is required.
type JWTConfig struct {
	// Keys are what signatures are checked with: a KeySet, a File, a JWKS, or several joined by JoinKeys.
	Keys KeySource
	// Algorithms are those that are accepted: of HS, RS, PS and ES with 256, 384 or 512, EdDSA and Ed25519. nil: those
	// the keys are good for. An unsigned token (none) is never accepted.
	Algorithms []string
	// Issuers are those whose tokens are accepted, by their iss; empty is any. A token from another one is passed on by
	// Chain.
	Issuers []string
	// Audiences are those for which tokens are accepted, by one of their aud; empty is any.
	Audiences []string
	// Leeway is how far the issuer's clock may differ from this one: a token is good until so long after its exp. 0 is
	// DefaultLeeway, negative is not at all.
	Leeway time.Duration
	// NoExpiry accepts tokens without exp, which are good until their key is changed.
	NoExpiry bool
	// UserClaim is the claim that names the user, a text; empty is sub.
	UserClaim string
	// ScopeClaims are the claims that name the scopes; the first that a token has counts. nil is scope, scp.
	ScopeClaims []string
	// Claims are the names of those that Identity.Claims keeps; nil is all.
	Claims []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// JWT is a Verifier of signed JSON Web Tokens. RFC 7519, RFC 8725.
type JWT struct {
	keys       KeySource
	algorithms []string
	rules      claimRules
}

// NewJWT makes a Verifier. It fails if nothing could be verified with the configuration: no key, one that is too weak,
// an algorithm that is not known.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	if err := checkSource(cfg.Keys); err != nil {
		return nil, fmt.Errorf("auth: JWT: %w", err)
	}
	for _, a := range cfg.Algorithms {
		if methods[a] == nil {
			return nil, fmt.Errorf("auth: JWT: algorithm %q: want one of %v", a, slices.Sorted(maps.Keys(methods)))
		}
	}
	j := &JWT{keys: cfg.Keys, algorithms: slices.Clone(cfg.Algorithms), rules: claimRules{
		issuers: slices.Clone(cfg.Issuers), audiences: slices.Clone(cfg.Audiences), leeway: cfg.Leeway,
		noExpiry: cfg.NoExpiry, userClaim: cfg.UserClaim, scopeClaims: slices.Clone(cfg.ScopeClaims),
		keep: slices.Clone(cfg.Claims), now: cfg.Now,
	}}
	j.rules.prepare()
	return j, nil
}

// NewIssuers makes a Verifier of several issuers, each with keys of its own, by their iss: a token of one that is
// signed with a key of another is refused. Keys and Issuers of cfg do not count.
func NewIssuers(cfg JWTConfig, issuers map[string]KeySource) (Verifier, error) {
	if len(issuers) == 0 {
		return nil, errors.New("auth: JWT without issuers")
	}
	var chain []Verifier
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		cfg.Issuers, cfg.Keys = []string{name}, issuers[name]
		v, err := NewJWT(cfg)
		if err != nil {
			return nil, fmt.Errorf("%w (issuer %q)", err, name)
		}
		chain = append(chain, v)
	}
	return Chain(chain...), nil
}

// Verify is part of Verifier. It blocks only as long as the KeySource does.
func (j *JWT) Verify(ctx context.Context, token string) (*Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	if err := j.rules.checkIssuer(t.claims); err != nil { // before the keys: those of another issuer are not asked for
		return nil, err
	}
	if err := j.checkSignature(ctx, t); err != nil {
		return nil, err
	}
	return j.rules.identity(t.claims, t.payload, token)
}

// errNoKey is the cause when no key is there that the token may have been signed with.
var errNoKey = errors.New("no key of that id and algorithm")

// checkSignature tries the keys that may have signed t: by its kid, and of those only the ones that are good for its
// algorithm.
func (j *JWT) checkSignature(ctx context.Context, t *jwtToken) error {
	method := methods[t.alg]
	if method == nil || len(j.algorithms) > 0 && !slices.Contains(j.algorithms, t.alg) {
		return &Error{
			Reason: ReasonBadSignature, Message: "the access token's algorithm is not accepted", foreign: true,
		}
	}
	asked := time.Now()
	keys, err := j.keys.Keys(ctx, t.kid)
	signed, tried := t.signedBy(keys)
	if !signed && len(keys) > 0 && renewed(ctx, j.keys, asked) { // a new key may have the name of an old one
		keys, err = j.keys.Keys(ctx, t.kid)
		signed, tried = t.signedBy(keys)
	}
	if signed {
		return nil
	}
	if err != nil { // the right key may be one of those that are not there
		return refuse(ReasonUnavailable, err)
	}
	if !tried {
		return &Error{
			Reason: ReasonBadSignature, Message: "no key is known for the access token", Err: errNoKey, foreign: true,
		}
	}
	return refuse(ReasonBadSignature, nil)
}

// signedBy reports whether one of the keys has signed t, and whether any of them is good for its algorithm.
func (t *jwtToken) signedBy(keys []Key) (signed, tried bool) {
	for _, k := range keys {
		if !k.allows(t.alg) {
			continue
		}
		tried = true
		if methods[t.alg].Verify(t.signed, t.signature, k.Public) == nil {
			return true, true
		}
	}
	return false, tried
}

// renewer is a KeySource that can look for newer keys than those that it had at some time. It reports whether it has
// some, and may block until ctx ends.
type renewer interface {
	renew(ctx context.Context, since time.Time) bool
}

// renewed reports whether a source has newer keys than those that it had.
func renewed(ctx context.Context, s KeySource, since time.Time) bool {
	r, ok := s.(renewer)
	return ok && r.renew(ctx, since)
}

var _ Verifier = (*JWT)(nil)
