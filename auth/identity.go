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

// Limits of an Identity that a Verifier of this package returns.
const (
	// maxUser is the maximum length of a user in bytes. OpenID Connect allows 255.
	maxUser = 256
	// maxTokenID is the maximum length of a jti in bytes. A longer one is ignored.
	maxTokenID = 128
	// maxScopes is the maximum number of scopes.
	maxScopes = 256
	// MaxClaims is the maximum size of all Claims together, in bytes of compact JSON. Larger claims are left out as a
	// whole: see Identity.Partial.
	MaxClaims = 4 << 10
)

// Identity is what a token says about a client. The zero Identity is an anonymous client.
type Identity struct {
	// User is the user that the client acts for, as in App.SendUser. Empty means anonymous.
	User string
	// Scopes lists the scopes of the token in their order, without duplicates.
	Scopes []string
	// Claims has the other claims of the token: all but iss, sub, aud, exp, nbf, iat, jti, scope and scp. It may be
	// nil. Values have the types of encoding/json: numbers are float64. The values may be shared and must not be
	// changed.
	Claims map[string]any
	// Partial is set if there were claims, but they were left out because they are larger than MaxClaims. A Permit of
	// ClaimPermit then allows nothing, because it cannot know what they say.
	Partial bool
	// Issuer is the issuer of the token, or empty.
	Issuer string
	// Expiry is the expiry in the token; the zero Time means never.
	Expiry time.Time
	// Leeway is how long the Verifier accepts the token after its Expiry, because clocks differ. See End.
	Leeway time.Duration
	// TokenID is the jti of the token, or its HashToken if it has none. It is not secret.
	TokenID string
	// Source is where the token was found in the request. Verifiers do not set it.
	Source Source
	// Certificate is the subject of the certificate that the client has presented in the handshake of TLS (RFC 4514), or
	// empty. It was verified before Authorize. Verifiers do not set it.
	Certificate string
}

// HasScope reports whether the token has scope. id may be nil.
func (id *Identity) HasScope(scope string) bool {
	return id != nil && slices.Contains(id.Scopes, scope)
}

// End returns when the token ceases to be accepted: Leeway after Expiry. The zero Time means never.
func (id *Identity) End() time.Time {
	if id.Expiry.IsZero() {
		return time.Time{}
	}
	expiry := id.Expiry
	if expiry.Unix() > maxSeconds { // a Verifier may return anything, and Add overflows
		expiry = time.Unix(maxSeconds, 0)
	}
	return expiry.Add(id.Leeway)
}

// Ended reports whether End has passed.
func (id *Identity) Ended(now time.Time) bool {
	end := id.End()
	return !end.IsZero() && !now.Before(end)
}

// Clone returns a copy of id. Values within the claims are shared.
func (id *Identity) Clone() *Identity {
	if id == nil {
		return nil
	}
	c := *id
	c.Scopes = slices.Clone(id.Scopes)
	c.Claims = maps.Clone(id.Claims)
	return &c
}

// LogValue returns the user, token id, issuer and expiry. The claims are never logged.
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

// hashDigits is the length of the result of HashToken in hex digits.
const hashDigits = 32

// HashToken returns a name for a token that does not reveal it: the first 32 hex digits of its SHA-256. If the token
// has three parts, the last one, the signature, is left out. From one valid ECDSA signature anyone can compute another
// one, and the token would get a new name that is not revoked.
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
	SourceNone        Source = iota // no credential
	SourceHeader                    // Authorization: Bearer
	SourceSubprotocol               // a subprotocol bearer.<token>
	SourceQuery                     // ?access_token=
	SourceCookie                    // a cookie, from a page whose origin matches
	SourceTicket                    // ?ticket=, valid for one connection
)

// String returns the source as a word.
func (s Source) String() string {
	names := [...]string{"none", "header", "subprotocol", "query", "cookie", "ticket"}
	if int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

var _ slog.LogValuer = Identity{}
