package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Limits of an Identity that a Verifier makes.
const (
	// MaxUser is the longest name of a user, in bytes: OpenID Connect allows 255.
	MaxUser = 256
	// MaxTokenID is the longest jti that is kept as it is, in bytes. A longer one is treated as none.
	MaxTokenID = 128
	// MaxScopes is the largest number of scopes.
	MaxScopes = 256
	// MaxClaims is the size of all Claims together, in bytes of compact JSON. What is larger is left out as a whole:
	// see Identity.Partial.
	MaxClaims = 4 << 10
)

// Identity is who a client is. The zero Identity is a client that nobody has asked for its name.
type Identity struct {
	// User is the subject that the client acts for: what App.SendUser takes. Empty is anonymous.
	User string
	// Scopes is what the token is good for, in its order, each once.
	Scopes []string
	// Claims is what else the token says, without iss, sub, aud, exp, nbf, iat, jti, scope and scp; nil for none. The
	// values are those of encoding/json: numbers are float64. They may be shared: what lies in them is not changed.
	Claims map[string]any
	// Partial says that there were claims, and that they were left out because they are larger than MaxClaims. A
	// Permit made by ClaimPermit then allows nothing, as it cannot know what they said.
	Partial bool
	// Issuer is who made the token, empty if it does not say.
	Issuer string
	// Expiry is when the token ends, as it says itself; the zero Time is never.
	Expiry time.Time
	// Leeway is how much longer the Verifier accepts the token, as clocks differ. See End.
	Leeway time.Duration
	// TokenID is the token's jti, or HashToken of it when it has none. It is no secret.
	TokenID string
	// Source is where the token was found. A Verifier leaves it to its caller.
	Source Source
}

// HasScope says whether the token is good for scope.
func (id *Identity) HasScope(scope string) bool {
	return id != nil && slices.Contains(id.Scopes, scope)
}

// End is when the token is no longer accepted, for anything: Leeway after Expiry. The zero Time is never.
func (id *Identity) End() time.Time {
	if id.Expiry.IsZero() {
		return time.Time{}
	}
	expiry := id.Expiry
	if expiry.Unix() > maxSeconds { // a Verifier may say anything, and Add overflows
		expiry = time.Unix(maxSeconds, 0)
	}
	return expiry.Add(id.Leeway)
}

// Ended reports whether the token's End has come.
func (id *Identity) Ended(now time.Time) bool {
	end := id.End()
	return !end.IsZero() && !now.Before(end)
}

// Clone is a copy of id. Values within the claims are shared.
func (id *Identity) Clone() *Identity {
	if id == nil {
		return nil
	}
	c := *id
	c.Scopes = slices.Clone(id.Scopes)
	c.Claims = maps.Clone(id.Claims)
	return &c
}

// LogValue is what of an Identity belongs into a log: user, token id, issuer and expiry, never the claims. It is part
// of slog.LogValuer.
func (id Identity) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 4)
	attrs = append(attrs, slog.String("user", id.User))
	if id.TokenID != "" {
		attrs = append(attrs, slog.String("token", id.TokenID))
	}
	if id.Issuer != "" {
		attrs = append(attrs, slog.String("issuer", id.Issuer))
	}
	if !id.Expiry.IsZero() {
		attrs = append(attrs, slog.Time("expiry", id.Expiry))
	}
	return slog.GroupValue(attrs...)
}

// hashDigits is the length of HashToken, in hex digits.
const hashDigits = 32

// HashToken is a name for a token that does not give it away: the first 32 hex digits of its SHA-256. Of a token in
// three parts the last one, the signature, does not count: whoever has an ECDSA signature can make another one of it
// that is valid as well, and would get a new name for a revoked token.
func HashToken(token string) string {
	if strings.Count(token, ".") == 2 {
		token = token[:strings.LastIndexByte(token, '.')]
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:hashDigits/2])
}

// Source is where a credential was found in a request.
type Source uint8

// The sources. Their numbers are part of the encoded Identity.
const (
	SourceNone        Source = iota // there is none
	SourceHeader                    // Authorization: Bearer
	SourceSubprotocol               // a subprotocol bearer.<token>
	SourceQuery                     // ?access_token=
	SourceCookie                    // a cookie, of a page whose origin is allowed
	SourceTicket                    // ?ticket=, good for one connection
)

// String is the source in one word.
func (s Source) String() string {
	names := [...]string{"none", "header", "subprotocol", "query", "cookie", "ticket"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

var _ slog.LogValuer = Identity{}
