package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// JWTConfig configures a JWT. Only Keys is required.
type JWTConfig struct {
	// Keys provides the keys that signatures are checked with: a KeySet, a File, a JWKS, or several joined by JoinKeys.
	Keys KeySource
	// Algorithms lists the accepted algorithms: HS, RS, PS and ES with 256, 384 or 512, EdDSA and Ed25519. nil means
	// all that the keys are suitable for. Unsigned tokens (none) are never accepted.
	Algorithms []string
	// Issuers lists the accepted issuers, by iss. Empty means any. In a Chain, a token from another issuer goes to the
	// next Verifier.
	Issuers []string
	// Audiences lists the accepted audiences; one of a token's aud must be among them. Empty means any.
	Audiences []string
	// Leeway is the tolerated difference between the clock of the issuer and this one: a token is accepted for this
	// time after its exp. 0 means DefaultLeeway, a negative value none.
	Leeway time.Duration
	// NoExpiry accepts tokens without exp. They stay valid until their key is removed.
	NoExpiry bool
	// UserClaim is the claim with the user, a string. Empty means sub.
	UserClaim string
	// ScopeClaims lists the claims that may hold the scopes; the first one present counts. nil means scope and scp.
	ScopeClaims []string
	// Claims lists the claims that are kept in Identity.Claims. nil means all.
	Claims []string
	// Now returns the current time; nil means time.Now.
	Now func() time.Time
}

// JWT is a Verifier of signed JSON Web Tokens. RFC 7519, RFC 8725.
type JWT struct {
	keys       KeySource
	algorithms []string
	rules      claimRules
}

// NewJWT returns a JWT. It fails if the configuration cannot verify any token: there is no key, a key is too weak, or
// an algorithm is unknown.
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

// NewIssuers returns a Verifier of several issuers, each with its own keys, by iss. It refuses a token of one issuer
// that is signed with a key of another. It ignores cfg.Keys and cfg.Issuers.
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

// Verify checks signature and claims of token. It blocks only as long as the KeySource does.
func (j *JWT) Verify(ctx context.Context, token string) (*Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	if err := j.rules.checkIssuer(t.claims); err != nil { // before the keys: no request because of another issuer's token
		return nil, err
	}
	if err := j.checkSignature(ctx, t); err != nil {
		return nil, err
	}
	return j.rules.identity(t.claims, t.payload, token)
}

// errNoKey is the cause if no key can have signed the token.
var errNoKey = errors.New("no key of that id and algorithm")

// checkSignature tries the keys that may have signed t: those with its kid that are suitable for its algorithm.
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
	if !signed && len(keys) > 0 && renewed(ctx, j.keys, asked) { // a new key may have the ID of an old one
		keys, err = j.keys.Keys(ctx, t.kid)
		signed, tried = t.signedBy(keys)
	}
	if signed {
		return nil
	}
	if err != nil { // the right key may be one of those that are missing
		return refuse(ReasonUnavailable, err)
	}
	if !tried {
		return &Error{
			Reason: ReasonBadSignature, Message: "no key is known for the access token", Err: errNoKey, foreign: true,
		}
	}
	return refuse(ReasonBadSignature, nil)
}

// signedBy reports whether one of the keys has signed t, and whether one of them is suitable for its algorithm.
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

// renewer is a KeySource that can look for keys newer than a given time. renew reports whether it has some. It may
// block until ctx ends.
type renewer interface {
	renew(ctx context.Context, since time.Time) bool
}

// renewed reports whether s has keys newer than since, after it has looked for some.
func renewed(ctx context.Context, s KeySource, since time.Time) bool {
	r, ok := s.(renewer)
	return ok && r.renew(ctx, since)
}

var _ Verifier = (*JWT)(nil)
