package auth

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/strictjson"
)

// DefaultLeeway is the tolerated difference between clocks if a configuration does not set one.
const DefaultLeeway = 5 * time.Second

// maxSeconds is the last second of the year 9999. A later time is a mistake, or an attempt to cause an overflow.
const maxSeconds = 253402300799

// registered lists the claims that never go into Identity.Claims.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"}

// defaultScopeClaims lists the claims that hold scopes: scope is that of RFC 8693 §4.2, scp is used by Microsoft and
// Okta.
var defaultScopeClaims = []string{"scope", "scp"}

// claimRules decides which claims are accepted and makes an Identity of them. RFC 7519 §4.1.
type claimRules struct {
	issuers, audiences []string // empty means any
	leeway             time.Duration
	noExpiry           bool
	userClaim          string
	scopeClaims        []string
	keep               []string // nil means all
	now                func() time.Time
}

// prepare fills in the defaults.
func (r *claimRules) prepare() {
	if r.leeway == 0 {
		r.leeway = DefaultLeeway
	}
	r.leeway = max(r.leeway, 0)
	if r.userClaim == "" {
		r.userClaim = "sub"
	}
	if r.scopeClaims == nil {
		r.scopeClaims = defaultScopeClaims
	}
	if r.now == nil {
		r.now = time.Now
	}
}

// checkIssuer checks that the token is from an accepted issuer.
func (r *claimRules) checkIssuer(claims map[string]any) error {
	iss, there := claims["iss"]
	s, ok := iss.(string)
	if there && !ok {
		return malformed("the access token's iss is not a string", nil)
	}
	if len(r.issuers) > 0 && !slices.Contains(r.issuers, s) {
		return refuse(ReasonWrongIssuer, nil) // Chain tries the next Verifier
	}
	return nil
}

// identity checks the claims of a token whose signature is valid. size is their length in bytes as received.
func (r *claimRules) identity(claims map[string]any, size int, token string) (*Identity, error) {
	if err := r.checkIssuer(claims); err != nil {
		return nil, err
	}
	if err := r.checkAudience(claims); err != nil {
		return nil, err
	}
	id := new(Identity)
	if err := r.checkTimes(id, claims); err != nil {
		return nil, err
	}
	id.Issuer, _ = claims["iss"].(string)
	if id.User, _ = claims[r.userClaim].(string); !isName(id.User, maxUser) {
		return nil, malformed("the access token does not have a valid user", nil)
	}
	var err error
	if id.Scopes, err = r.scopes(claims); err != nil {
		return nil, err
	}
	if id.TokenID, _ = claims["jti"].(string); !isName(id.TokenID, maxTokenID) || id.TokenID == token {
		id.TokenID = HashToken(token)
	}
	id.Claims, id.Partial = r.rest(claims, size)
	return id, nil
}

// isName reports whether s can name a user or a token: it is not empty and has no control characters and no replacement
// characters.
func isName(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == utf8.RuneError
	})
}

// checkAudience checks that aud, a string or a list of strings, contains an accepted audience. RFC 7519 §4.1.3.
func (r *claimRules) checkAudience(claims map[string]any) error {
	list, ok := texts(claims["aud"])
	if _, there := claims["aud"]; there && !ok {
		return malformed("the access token's aud is neither a string nor a list of strings", nil)
	}
	expected := func(a string) bool { return slices.Contains(r.audiences, a) }
	if len(r.audiences) > 0 && !slices.ContainsFunc(list, expected) {
		return refuse(ReasonWrongAudience, nil)
	}
	return nil
}

// texts returns the strings of a claim that is a string or a list of strings.
func texts(claim any) ([]string, bool) {
	switch v := claim.(type) {
	case string:
		return []string{v}, true
	case []string:
		return v, true
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	default:
		return nil, false
	}
}

// checkTimes checks exp, nbf and iat, which are numbers of seconds, and sets the expiry of id. RFC 7519 §4.1.4 to
// §4.1.6.
func (r *claimRules) checkTimes(id *Identity, claims map[string]any) error {
	var times [3]time.Time
	for i, name := range []string{"exp", "nbf", "iat"} {
		v, there := claims[name]
		if !there {
			continue
		}
		seconds, ok := v.(float64)
		if !ok || seconds < 0 || seconds > maxSeconds {
			return malformed("the access token's "+name+" is not a time", nil)
		}
		whole := int64(seconds)
		times[i] = time.Unix(whole, int64((seconds-float64(whole))*float64(time.Second))).UTC()
	}
	exp, nbf, now := times[0], times[1], r.now()
	if !exp.IsZero() {
		id.Expiry, id.Leeway = exp, r.leeway
	}
	switch {
	case exp.IsZero() && !r.noExpiry:
		return malformed("the access token has no exp: it would never expire", nil)
	case id.Ended(now):
		return &Error{Reason: ReasonExpired, Message: "the access token expired at " + exp.Format(time.RFC3339)}
	case !nbf.IsZero() && now.Add(r.leeway).Before(nbf):
		return &Error{
			Reason: ReasonNotYetValid, Message: "the access token is not valid before " + nbf.Format(time.RFC3339),
		}
	}
	return nil
}

// scopes returns the scopes in the first scope claim that is present: a space-separated string or a list.
func (r *claimRules) scopes(claims map[string]any) ([]string, error) {
	for _, name := range r.scopeClaims {
		claim, there := claims[name]
		if !there {
			continue
		}
		list, ok := texts(claim)
		if s, isText := claim.(string); isText {
			list = strings.Fields(s)
		}
		if !ok || len(list) > maxScopes {
			return nil, malformed("the access token's scopes are malformed", nil)
		}
		var unique []string
		for _, s := range list {
			if s != "" && !slices.Contains(unique, s) {
				unique = append(unique, s)
			}
		}
		return unique, nil
	}
	return nil, nil
}

// maxGrowth is the factor by which compact JSON can grow when it is encoded again: "9e20" becomes 21 digits.
const maxGrowth = 6

// rest returns the claims that the configuration keeps, without those that have their own field. It changes claims.
func (r *claimRules) rest(claims map[string]any, size int) (rest map[string]any, partial bool) {
	for _, name := range registered {
		delete(claims, name)
	}
	if r.keep != nil {
		for name := range claims {
			if !slices.Contains(r.keep, name) {
				delete(claims, name)
			}
		}
	}
	if len(claims) == 0 {
		return nil, false
	}
	if size*maxGrowth > MaxClaims {
		if _, ok := strictjson.Encode(claims, MaxClaims); !ok {
			return nil, true
		}
	}
	return claims, false
}
