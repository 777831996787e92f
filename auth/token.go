package auth

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/strictjson"
)

// maxJWT is the maximum length of a token in bytes, whatever an Extractor allows.
const maxJWT = 64 << 10

// maxKid is the maximum length of a kid in bytes.
const maxKid = 256

// jwtToken is a parsed token whose signature and claims are not verified yet. RFC 7515 §3.1.
type jwtToken struct {
	alg, kid  string
	header    map[string]any
	claims    map[string]any
	payload   int    // length of the claims in bytes
	signed    string // the part that the signature covers
	signature []byte
}

// parseToken parses a token. Its errors are *Error; if the token is not a JWT at all, the error is foreign.
func parseToken(token string) (*jwtToken, error) {
	parts := strings.Split(token[:min(len(token), maxJWT+1)], ".")
	switch {
	case len(token) > maxJWT:
		return nil, foreign("the access token is too long", nil)
	case len(parts) == 5: // RFC 7516 §3.1
		return nil, foreign("the access token is encrypted, and only signed ones are accepted", nil)
	case len(parts) != 3:
		return nil, foreign("the access token is not a JSON Web Token", nil)
	}
	b, err := decodeSegment(parts[0])
	if err != nil {
		return nil, foreign("the access token is not a JSON Web Token", err)
	}
	header, err := strictjson.Object(b)
	if err != nil {
		return nil, foreign("the access token is not a JSON Web Token", err)
	}
	t := &jwtToken{header: header, signed: token[:len(parts[0])+1+len(parts[1])]}
	if err := t.checkHeader(); err != nil {
		return nil, err
	}
	if t.signature, err = decodeSegment(parts[2]); err != nil {
		return nil, malformed("the access token's signature cannot be read", err)
	}
	if len(t.signature) == 0 {
		return nil, &Error{Reason: ReasonBadSignature, Message: "the access token is not signed"}
	}
	if b, err = decodeSegment(parts[1]); err != nil {
		return nil, malformed("the access token's claims cannot be read", err)
	}
	if t.claims, err = strictjson.Object(b); err != nil {
		return nil, malformed("the access token's claims cannot be read", err)
	}
	t.payload = len(b)
	return t, nil
}

// checkHeader reads alg and kid from the header and ignores the rest. In particular, jku, jwk, x5u and x5c could bring
// a forger's own key. RFC 7515 §4.1, RFC 8725 §3.
func (t *jwtToken) checkHeader() error {
	var ok bool
	if t.alg, ok = t.header["alg"].(string); !ok {
		return foreign("the access token is not a JSON Web Token", nil)
	}
	if strings.EqualFold(t.alg, "none") {
		return &Error{Reason: ReasonBadSignature, Message: "the access token is not signed"}
	}
	if kid, there := t.header["kid"]; there {
		if t.kid, ok = kid.(string); !ok || len(t.kid) > maxKid {
			return malformed("the access token's key id cannot be read", nil)
		}
	}
	if _, there := t.header["crit"]; there { // RFC 7515 §4.1.11: unknown critical extensions must be refused
		return malformed("the access token requires unknown extensions", nil)
	}
	if typ, there := t.header["typ"]; there && !isAccessTokenType(typ) {
		return malformed("this token is of a type that is not an access token", nil)
	}
	return nil
}

// isAccessTokenType reports whether typ is that of an access token. An issuer may sign other tokens with the same key,
// such as logout tokens or proofs of possession. RFC 8725 §3.11, RFC 9068 §2.1.
func isAccessTokenType(typ any) bool {
	s, ok := typ.(string)
	s = strings.TrimPrefix(strings.ToLower(s), "application/")
	return ok && slices.Contains([]string{"jwt", "at+jwt"}, s)
}

// errBase64 means that a part is not what an encoder writes.
var errBase64 = errors.New("not canonical base64url")

// decodeSegment decodes base64url without padding in its canonical form, because another form of a token would be
// another name for it. The decoder of the standard library ignores line ends.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errBase64
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

func malformed(message string, cause error) *Error {
	return &Error{Reason: ReasonMalformed, Message: message, Err: cause}
}

// foreign returns a malformed error for a token that may belong to another Verifier.
func foreign(message string, cause error) *Error {
	return &Error{Reason: ReasonMalformed, Message: message, Err: cause, foreign: true}
}
