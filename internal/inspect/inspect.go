// Package inspect shows what a JSON Web Token contains, and whether a verifier would accept it.
package inspect

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/human"
)

const (
	maxTime       = 1 << 37 // seconds; a time beyond it has no date
	verifyTimeout = 10 * time.Second
)

// Report is what a token contains, and the verdict on it.
type Report struct {
	Header    json.RawMessage `json:"header"`
	Claims    json.RawMessage `json:"claims"`
	IssuedAt  *time.Time      `json:"issued_at,omitempty"`
	NotBefore *time.Time      `json:"not_before,omitempty"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	TokenID   string          `json:"token_id"`
	User      string          `json:"user,omitempty"` // of a valid token
	Signature string          `json:"signature"`      // see SignatureGood
	Valid     bool            `json:"valid"`          // as far as it was checked
	Error     *Fault          `json:"error,omitempty"`

	token string
}

// Fault is the reason that a token is not valid.
type Fault struct {
	Code    auth.Reason `json:"code"`
	Message string      `json:"message"`
}

// The values of Report.Signature.
const (
	SignatureGood      = "good"
	SignatureBad       = "bad"
	SignatureUnchecked = "unchecked"
)

// Token parses a token and checks nothing. Its error does not contain the token.
func Token(token string) (*Report, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("this is not a JSON Web Token: only the issuer of an opaque token can inspect it")
	}
	r := &Report{token: token, TokenID: auth.HashToken(token), Signature: SignatureUnchecked}
	for n, to := range []*json.RawMessage{&r.Header, &r.Claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil || !json.Valid(b) || !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
			return nil, errors.New("this is not a JSON Web Token: a part of it is not a JSON object in base64url")
		}
		*to = b
	}
	var claims map[string]any
	if err := json.Unmarshal(r.Claims, &claims); err != nil {
		return nil, errors.New("this is not a JSON Web Token: its claims cannot be read")
	}
	for name, to := range map[string]**time.Time{"iat": &r.IssuedAt, "nbf": &r.NotBefore, "exp": &r.ExpiresAt} {
		if seconds, ok := claims[name].(float64); ok && math.Abs(seconds) < maxTime {
			t := time.Unix(int64(seconds), 0).UTC()
			*to = &t
		}
	}
	if id, ok := claims["jti"].(string); ok && id != "" {
		r.TokenID = id
	}
	return r, nil
}

// Verify sets the verdict: that of a verifier with the given configuration or, without keys, what the times say. An
// error is one of the configuration.
func (r *Report) Verify(cfg auth.JWTConfig) error {
	if cfg.Keys == nil {
		r.Error = r.timeFault(time.Now())
		r.Valid = r.Error == nil
		return nil
	}
	id, fault, err := r.verify(cfg)
	if err != nil {
		return err
	}
	if fault == nil {
		r.Signature, r.Valid, r.User, r.TokenID = SignatureGood, true, id.User, id.TokenID
		return nil
	}
	r.Error = &Fault{fault.Reason, fault.Message}
	if fault.Reason == auth.ReasonUnavailable {
		r.Error.Message = fault.Error()
	}
	cfg.Issuers = nil // a verifier checks the issuer before the signature
	if _, fault, err = r.verify(cfg); err != nil {
		return err
	}
	r.Signature = SignatureGood
	if fault != nil {
		r.Signature = signatureOf(fault.Reason)
	}
	return nil
}

func (r *Report) verify(cfg auth.JWTConfig) (id *auth.Identity, fault *auth.Error, err error) {
	v, err := auth.NewJWT(cfg)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	id, err = v.Verify(ctx, r.token)
	return id, auth.AsError(err), nil
}

// signatureOf returns what a refusal implies about the signature, which a verifier checks before the claims.
func signatureOf(reason auth.Reason) string {
	switch reason {
	case auth.ReasonExpired, auth.ReasonNotYetValid, auth.ReasonWrongAudience:
		return SignatureGood
	case auth.ReasonBadSignature:
		return SignatureBad
	default:
		return SignatureUnchecked
	}
}

// timeFault returns what a verifier with the default leeway finds wrong with the times of the token, or nil.
func (r *Report) timeFault(now time.Time) *Fault {
	switch {
	case r.ExpiresAt != nil && !now.Before(r.ExpiresAt.Add(auth.DefaultLeeway)):
		return &Fault{auth.ReasonExpired, "the access token expired at " + r.ExpiresAt.Format(time.RFC3339)}
	case r.NotBefore != nil && now.Add(auth.DefaultLeeway).Before(*r.NotBefore):
		return &Fault{auth.ReasonNotYetValid, "the access token is not valid before " + r.NotBefore.Format(time.RFC3339)}
	}
	return nil
}

// Text returns the report for people, with times relative to now.
func (r *Report) Text(now time.Time) string {
	var b strings.Builder
	for _, part := range []struct {
		name string
		json json.RawMessage
	}{{"header", r.Header}, {"claims", r.Claims}} {
		var indented bytes.Buffer
		if err := json.Indent(&indented, part.json, "", "  "); err != nil { // Token has checked it
			continue
		}
		b.WriteString(part.name)
		for line := range strings.SplitSeq(indented.String(), "\n") {
			b.WriteString(" " + human.Printable(line) + "\n")
		}
	}
	for _, t := range []struct {
		name string
		time *time.Time
	}{{"issued", r.IssuedAt}, {"not before", r.NotBefore}, {"expires", r.ExpiresAt}} {
		if t.time != nil {
			fmt.Fprintf(&b, "%-11s%s (%s)\n", t.name, t.time.Format(time.DateTime+" MST"), fromNow(t.time.Sub(now)))
		}
	}
	fmt.Fprintf(&b, "%-11s%s\n%-11s", "token id", human.Printable(r.TokenID), "signature")
	b.WriteString(r.Signature + "\nverdict    ")
	switch {
	case r.Error != nil:
		fmt.Fprintf(&b, "not valid: %s: %s\n", r.Error.Code, r.Error.Message)
	case r.Signature == SignatureGood:
		fmt.Fprintf(&b, "valid, for the user %q\n", r.User)
	default:
		b.WriteString("no fault found, but without a key to check the signature, anyone could have made the token\n")
	}
	return b.String()
}

func fromNow(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}
