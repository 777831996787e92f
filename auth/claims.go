package auth

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/strictjson"
)

// DefaultLeeway is how far clocks may differ where a configuration names nothing else.
const DefaultLeeway = 5 * time.Second

// maxSeconds is the last second of the year 9999: a later time is a mistake, or an attempt to find an overflow.
const maxSeconds = 253402300799

// registered are the claims that have a field of Identity, or none.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"}

// defaultScopeClaims are where scopes stand: RFC 8693 §4.2, and what Microsoft and Okta write.
var defaultScopeClaims = []string{"scope", "scp"}

// claimRules say which claims are accepted, and what becomes of them. RFC 7519 §4.1.
type claimRules struct {
	issuers, audiences []string // empty: any
	leeway             time.Duration
	noExpiry           bool
	userClaim          string
	scopeClaims        []string
	keep               []string // nil: all
	now                func() time.Time
}

// prepare fills in the defaults.
func (r *claimRules) prepare() {
	switch {
	case r.leeway == 0:
		r.leeway = DefaultLeeway
	case r.leeway < 0:
		r.leeway = 0
	}
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

// checkIssuer says whether the token is from somebody whose tokens are accepted.
func (r *claimRules) checkIssuer(claims map[string]any) error {
	iss, there := claims["iss"]
	s, ok := iss.(string)
	if there && !ok {
		return malformed("the access token's iss is no text", nil)
	}
	if len(r.issuers) > 0 && !slices.Contains(r.issuers, s) {
		return refuse(ReasonWrongIssuer, nil) // which Chain passes on
	}
	return nil
}

// identity judges the claims of a genuine token; size is their length in bytes as they came.
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
	if id.User, _ = claims[r.userClaim].(string); !isName(id.User, MaxUser) {
		return nil, malformed("the access token does not name a user as it should", nil)
	}
	var err error
	if id.Scopes, err = r.scopes(claims); err != nil {
		return nil, err
	}
	if id.TokenID, _ = claims["jti"].(string); !isName(id.TokenID, MaxTokenID) || id.TokenID == token {
		id.TokenID = HashToken(token)
	}
	id.Claims, id.Partial = r.rest(claims, size)
	return id, nil
}

// isName says whether s may stand for a user or a token: not empty, and without what does not print or was replaced.
func isName(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(c rune) bool {
		return c < ' ' || c == 0x7f || c == utf8.RuneError
	})
}

// checkAudience: aud is a text or a list of texts, and one of them is expected. RFC 7519 §4.1.3.
func (r *claimRules) checkAudience(claims map[string]any) error {
	list, ok := texts(claims["aud"])
	if _, there := claims["aud"]; there && !ok {
		return malformed("the access token's aud is neither text nor a list of it", nil)
	}
	expected := func(a string) bool { return slices.Contains(r.audiences, a) }
	if len(r.audiences) > 0 && !slices.ContainsFunc(list, expected) {
		return refuse(ReasonWrongAudience, nil)
	}
	return nil
}

// texts is a claim that is one text or a list of them.
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

// checkTimes: exp, nbf and iat are numbers of seconds. It sets when id ends. RFC 7519 §4.1.4 to §4.1.6.
func (r *claimRules) checkTimes(id *Identity, claims map[string]any) error {
	var times [3]time.Time
	for i, name := range []string{"exp", "nbf", "iat"} {
		v, there := claims[name]
		if !there {
			continue
		}
		seconds, ok := v.(float64)
		if !ok || seconds < 0 || seconds > maxSeconds {
			return malformed("the access token's "+name+" is no time", nil)
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
		return malformed("the access token has no exp: it would be good for ever", nil)
	case id.Ended(now):
		return &Error{Reason: ReasonExpired, Message: "the access token expired at " + exp.Format(time.RFC3339)}
	case !nbf.IsZero() && now.Add(r.leeway).Before(nbf):
		return &Error{
			Reason: ReasonNotYetValid, Message: "the access token is not valid before " + nbf.Format(time.RFC3339),
		}
	}
	return nil
}

// scopes are what the first of the claims that is there says: a text with spaces between them, or a list.
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
		if !ok || len(list) > MaxScopes {
			return nil, malformed("the access token's scopes cannot be read", nil)
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

// maxGrowth is how much longer compact JSON may become when it is written again: "9e20" becomes 21 digits.
const maxGrowth = 6

// rest are the claims without a field of their own that the configuration keeps. It takes them out of claims.
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
