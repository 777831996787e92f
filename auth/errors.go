package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Reason is the reason of a refusal, as a word for programs. It is the code of the answer and of the metrics.
type Reason string

// The reasons.
const (
	ReasonMissing       Reason = "missing"        // a token is required and missing
	ReasonMalformed     Reason = "malformed"      // the token, or the way it was sent, is not well formed
	ReasonExpired       Reason = "expired"        // the token has expired
	ReasonNotYetValid   Reason = "not_yet_valid"  // the token is not valid yet
	ReasonWrongAudience Reason = "wrong_audience" // the token is for another audience
	ReasonWrongIssuer   Reason = "wrong_issuer"   // the token is from another issuer
	ReasonBadSignature  Reason = "bad_signature"  // no known key has signed the token
	ReasonRevoked       Reason = "revoked"        // the token, its user or its session was revoked
	ReasonOrigin        Reason = "origin"         // the page's origin may not connect
	ReasonForbidden     Reason = "forbidden"      // the token is valid, but does not allow this
	ReasonUnavailable   Reason = "unavailable"    // the verifier or a store cannot answer
	ReasonUnknown       Reason = "unknown"        // no verifier knows the token
	ReasonOverloaded    Reason = "overloaded"     // too many tokens are being verified
)

// The values of "type" in Error.Body.
const (
	typeInvalidRequest = "invalid_request"
	typeInvalidToken   = "invalid_token"
	typeScope          = "insufficient_scope"
	typeOrigin         = "forbidden_origin"
	typeUnavailable    = "temporarily_unavailable"
)

// maxMessage is the maximum length of the message in an answer, in bytes.
const maxMessage = 256

// Error is the refusal of a client: the answer to it, and the cause for the log.
type Error struct {
	Reason Reason
	// Message is sent to the client. It never contains a part of the token. If it is empty, a sentence about Reason is
	// sent.
	Message string
	// Err is the cause, for the log only; it may be nil. It never contains a part of the token either.
	Err error

	foreign bool // the token is of a kind that this Verifier does not know: another one may
	request bool // the request is malformed, not the token
}

// refuse returns an Error whose message is the sentence about its reason.
func refuse(reason Reason, cause error) *Error {
	return &Error{Reason: reason, Message: reason.sentence(), Err: cause}
}

// Error returns reason, message and cause, for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("auth: %s: %s", e.Reason, e.message())
	if e.Err != nil {
		s += ": " + strings.TrimPrefix(e.Err.Error(), "auth: ")
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError returns the *Error in err. Any other error means that a verifier could not decide: AsError wraps it in an
// *Error with ReasonUnavailable. AsError(nil) is nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return refuse(ReasonUnavailable, err)
}

// Status returns the HTTP status of the answer: 403 for ReasonOrigin and ReasonForbidden, 503 for ReasonUnavailable and
// ReasonOverloaded, and 401 for all others.
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

// Challenge returns the value of the WWW-Authenticate field, or "" if the answer has none. RFC 6750 §3.
func (e *Error) Challenge() string {
	const scheme = `Bearer realm="expedite"`
	switch e.kind() {
	case typeOrigin, typeUnavailable:
		return ""
	}
	if e.Reason == ReasonMissing { // §3.1: no error code if no token was sent
		return scheme
	}
	return fmt.Sprintf(`%s, error="%s", error_description="%s"`, scheme, e.kind(), quotable(e.message()))
}

// quotable replaces the characters that RFC 6750 §3 does not allow in an error_description.
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

// kind returns the type of the error: an error code of RFC 6750 §3.1, or one like it.
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

// Body returns the body of the answer as JSON: {"error":{"type":…,"code":…,"message":…}}. The code is the Reason. The
// type is invalid_request (the credential is missing or was sent in a wrong way), invalid_token, insufficient_scope,
// forbidden_origin or temporarily_unavailable.
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
	if err != nil { // cannot happen: it is three strings
		return []byte(`{}`)
	}
	return b
}

// RetryAfter returns how long the client should wait before it tries again. 0 means that this token will not be
// accepted later either.
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
	return strings.ToValidUTF8(m[:min(len(m), maxMessage)], "")
}

// sentence returns a sentence about a reason.
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
