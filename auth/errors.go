package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Reason is why a client is refused, in a word that programs may compare: the code of the answer and of the metrics.
type Reason string

// The reasons.
const (
	ReasonMissing       Reason = "missing"        // a token is required, and there is none
	ReasonMalformed     Reason = "malformed"      // the token, or the way it was sent, makes no sense
	ReasonExpired       Reason = "expired"        // it was good
	ReasonNotYetValid   Reason = "not_yet_valid"  // it will be good
	ReasonWrongAudience Reason = "wrong_audience" // it is for somebody else
	ReasonWrongIssuer   Reason = "wrong_issuer"   // it is from somebody else
	ReasonBadSignature  Reason = "bad_signature"  // no key that is known here has signed it
	ReasonRevoked       Reason = "revoked"        // it was taken back
	ReasonOrigin        Reason = "origin"         // the page comes from elsewhere
	ReasonForbidden     Reason = "forbidden"      // it is good, but not for this
	ReasonUnavailable   Reason = "unavailable"    // whoever could tell does not answer
	ReasonUnknown       Reason = "unknown"        // nobody knows such a token
	ReasonOverloaded    Reason = "overloaded"     // too many ask at once
)

// The types of Error.Body.
const (
	typeInvalidRequest = "invalid_request"
	typeInvalidToken   = "invalid_token"
	typeScope          = "insufficient_scope"
	typeOrigin         = "forbidden_origin"
	typeUnavailable    = "temporarily_unavailable"
)

// maxMessage bounds the text of an answer, in bytes.
const maxMessage = 256

// Error is why a client is refused: how it is answered, and what the log says.
type Error struct {
	Reason Reason
	// Message is for the client. It never holds a part of the token. Empty is a sentence made of Reason.
	Message string
	// Err is the cause, for the log only; nil for none. It never holds the token either.
	Err error

	foreign bool // the token is of a kind that the Verifier does not know: another one may
	request bool // not the token is malformed, but the request around it
}

// refuse makes an Error that says its reason in a sentence.
func refuse(reason Reason, cause error) *Error {
	return &Error{Reason: reason, Message: reason.sentence(), Err: cause}
}

// Error describes the refusal for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("auth: %s: %s", e.Reason, e.message())
	if e.Err != nil {
		s += ": " + strings.TrimPrefix(e.Err.Error(), "auth: ")
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the *Error in err. Any other error says that a verifier could not tell: it becomes the cause of one
// that is unavailable. nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return refuse(ReasonUnavailable, err)
}

// Status is the HTTP status of the answer: 403 for an origin and for what is forbidden, 503 where it is worth trying
// again, else 401.
func (e *Error) Status() int {
	switch e.Reason {
	case ReasonOrigin, ReasonForbidden:
		return http.StatusForbidden
	case ReasonUnavailable, ReasonOverloaded:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnauthorized
	}
}

// Challenge is the value of WWW-Authenticate, empty if the answer has none. RFC 6750 §3.
func (e *Error) Challenge() string {
	const scheme = `Bearer realm="expedite"`
	switch e.kind() {
	case typeOrigin, typeUnavailable:
		return ""
	}
	if e.Reason == ReasonMissing { // §3.1: without a reason for those who did not try
		return scheme
	}
	return fmt.Sprintf(`%s, error="%s", error_description="%s"`, scheme, e.kind(), quotable(e.message()))
}

// quotable makes s what RFC 6750 §3 allows in an error_description.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		default:
			return r
		}
	}, s)
}

// kind is the error of RFC 6750 §3.1, or a word of the same kind.
func (e *Error) kind() string {
	switch e.Reason {
	case ReasonMissing:
		return typeInvalidRequest
	case ReasonMalformed:
		if e.request {
			return typeInvalidRequest
		}
		return typeInvalidToken
	case ReasonForbidden:
		return typeScope
	case ReasonOrigin:
		return typeOrigin
	case ReasonUnavailable, ReasonOverloaded:
		return typeUnavailable
	default:
		return typeInvalidToken
	}
}

// Body is the answer's body, as JSON: {"error":{"type":…,"code":…,"message":…}}. The code is the Reason; the type is
// one of invalid_request (it was sent in a wrong way, or not at all), invalid_token, insufficient_scope,
// forbidden_origin and temporarily_unavailable.
func (e *Error) Body() []byte {
	var body struct {
		Error struct {
			Type    string `json:"type"`
			Code    Reason `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Type, body.Error.Code, body.Error.Message = e.kind(), e.Reason, e.message()
	b, err := json.Marshal(body)
	if err != nil { // three strings: there is none
		return []byte(`{}`)
	}
	return b
}

// RetryAfter is when it is worth trying again; 0 is never with this token.
func (e *Error) RetryAfter() time.Duration {
	switch e.Reason {
	case ReasonUnavailable:
		return 5 * time.Second
	case ReasonOverloaded:
		return time.Second
	default:
		return 0
	}
}

func (e *Error) message() string {
	m := e.Message
	if m == "" {
		m = e.Reason.sentence()
	}
	if len(m) > maxMessage {
		m = strings.ToValidUTF8(m[:maxMessage], "")
	}
	return m
}

// sentence says a reason in more words.
func (r Reason) sentence() string {
	switch r {
	case ReasonMissing:
		return "an access token is required"
	case ReasonMalformed:
		return "the access token is malformed"
	case ReasonExpired:
		return "the access token has expired"
	case ReasonNotYetValid:
		return "the access token is not valid yet"
	case ReasonWrongAudience:
		return "the access token is for another audience"
	case ReasonWrongIssuer:
		return "the access token is from an issuer that is not accepted"
	case ReasonBadSignature:
		return "the access token's signature is not valid"
	case ReasonRevoked:
		return "the access token was revoked"
	case ReasonOrigin:
		return "pages of this origin may not connect"
	case ReasonForbidden:
		return "the access token does not allow this"
	case ReasonUnavailable:
		return "the access token cannot be checked at the moment"
	case ReasonOverloaded:
		return "too many access tokens are being checked at the moment"
	default:
		return "the access token is not known"
	}
}
