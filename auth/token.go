package auth

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/strictjson"
)

// maxJWT is the longest token that is looked at, in bytes, whatever an Extractor lets pass.
const maxJWT = 64 << 10

// maxKid is the longest kid that is looked for, in bytes.
const maxKid = 256

// jwtToken is a token as it is written, of which nothing has been checked but its form. RFC 7515 §3.1.
type jwtToken struct {
	alg, kid  string
	header    map[string]any
	claims    map[string]any
	payload   int    // length of the claims in bytes
	signed    string // what the signature is of
	signature []byte
}

// parseToken takes a token to pieces. Its errors are *Error; one of a token that is no JWT at all is foreign.
func parseToken(token string) (*jwtToken, error) {
	parts := strings.Split(token[:min(len(token), maxJWT+1)], ".")
	switch {
	case len(token) > maxJWT:
		return nil, foreign("the access token is too long", nil)
	case len(parts) == 5: // RFC 7516 §3.1
		return nil, foreign("the access token is encrypted, and only signed ones are accepted", nil)
	case len(parts) != 3:
		return nil, foreign("the access token is no JSON Web Token", nil)
	}
	b, err := decodeSegment(parts[0])
	if err != nil {
		return nil, foreign("the access token is no JSON Web Token", err)
	}
	header, err := strictjson.Object(b)
	if err != nil {
		return nil, foreign("the access token is no JSON Web Token", err)
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

// checkHeader takes from the header what is believed: alg and kid, and nothing else. jku, jwk, x5u and x5c bring the
// forger's own key, and are not looked at. RFC 7515 §4.1, RFC 8725 §3.
func (t *jwtToken) checkHeader() error {
	var ok bool
	if t.alg, ok = t.header["alg"].(string); !ok {
		return foreign("the access token is no JSON Web Token", nil)
	}
	if strings.EqualFold(t.alg, "none") {
		return &Error{Reason: ReasonBadSignature, Message: "the access token is not signed"}
	}
	if kid, there := t.header["kid"]; there {
		if t.kid, ok = kid.(string); !ok || len(t.kid) > maxKid {
			return malformed("the access token's key id cannot be read", nil)
		}
	}
	if _, there := t.header["crit"]; there { // RFC 7515 §4.1.11: whoever does not know what is critical must refuse
		return malformed("the access token wants extensions that are not known here", nil)
	}
	if typ, there := t.header["typ"]; there && !isAccessTokenType(typ) {
		return malformed("this kind of token is no access token", nil)
	}
	return nil
}

// isAccessTokenType says whether a header's typ may be that of an access token. The same issuer may sign others with
// the same key, that of a logout or of a proof of possession. RFC 8725 §3.11, RFC 9068 §2.1.
func isAccessTokenType(typ any) bool {
	s, ok := typ.(string)
	s = strings.TrimPrefix(strings.ToLower(s), "application/")
	return ok && slices.Contains([]string{"jwt", "at+jwt"}, s)
}

// errBase64 says that a part is not what an encoder writes.
var errBase64 = errors.New("no canonical base64url")

// decodeSegment reads base64url without padding, in its one form: a second form of a token would be a second name of
// it. The decoder of the standard library skips line ends.
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

// foreign is malformed, for a token that may be another Verifier's.
func foreign(message string, cause error) *Error {
	return &Error{Reason: ReasonMalformed, Message: message, Err: cause, foreign: true}
}
