package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// maxTokenTime bounds the times that are shown, in seconds: beyond it, there is no date.
const maxTokenTime = 1 << 37

// maxTokenInput bounds what is read, in bytes.
const maxTokenInput = 64 << 10

// tokenInspectCmd is `expedite token inspect`.
type tokenInspectCmd struct {
	Token      string   `arg:"" optional:"" help:"The token; - or nothing: from the standard input." placeholder:"TOKEN"`
	SecretFile string   `name:"auth-secret-file" help:"Secret of HS256 tokens, or in the environment." placeholder:"FILE"`
	Keys       string   `name:"auth-keys" help:"Keys of tokens: PEM or a JWK set." placeholder:"FILE"`
	JWKS       string   `name:"auth-jwks" help:"Address of the keys of tokens." placeholder:"URL"`
	Issuer     []string `name:"auth-issuer" help:"Accept tokens of these issuers only." placeholder:"ISS"`
	Audience   []string `name:"auth-audience" help:"Accept tokens for these audiences only." placeholder:"AUD"`
	JSON       bool     `help:"Print JSON." name:"json"`

	Stdin io.Reader `kong:"-"` // nil: that of the process
}

// Help is shown by `expedite token inspect --help`.
func (tokenInspectCmd) Help() string {
	return `The keys are those of expedite serve. Without any, the signature is not checked.
The code is 1 if the token is not good.

Everybody on the machine can read the arguments of a process: rather give the token to the standard input.

Examples:
  expedite token new --user alice | expedite token inspect
  expedite token inspect --auth-keys public.jwk < token
  expedite token inspect --auth-jwks https://issuer.example.com/jwks --json < token | jq .claims`
}

// tokenReport is what a token says, and what is to be said of it.
type tokenReport struct {
	Header    json.RawMessage `json:"header"`
	Claims    json.RawMessage `json:"claims"`
	IssuedAt  *time.Time      `json:"issued_at,omitempty"`
	NotBefore *time.Time      `json:"not_before,omitempty"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	TokenID   string          `json:"token_id"`
	User      string          `json:"user,omitempty"` // of a token that is good
	Signature string          `json:"signature"`      // good, bad or unchecked
	Valid     bool            `json:"valid"`          // good, as far as it was checked
	Error     *tokenFault     `json:"error,omitempty"`
}

// tokenFault is why a token is not good.
type tokenFault struct {
	Code    auth.Reason `json:"code"`
	Message string      `json:"message"`
}

// What is to be said of a signature.
const (
	signatureGood      = "good"
	signatureBad       = "bad"
	signatureUnchecked = "unchecked"
)

// Run reads a token and prints what is to be said of it.
func (i *tokenInspectCmd) Run(c *console) error {
	token, err := i.read()
	if err != nil {
		return err
	}
	report, err := readToken(token)
	if err != nil {
		return err
	}
	if err := i.judge(token, report); err != nil {
		return err
	}
	if i.JSON {
		err = printJSON(c.out, report)
	} else {
		_, err = io.WriteString(c.out, report.text(time.Now()))
	}
	if err == nil && report.Error != nil {
		return fmt.Errorf("the token is not good: %s: %s", report.Error.Code, report.Error.Message)
	}
	return err
}

// read finds the token in the arguments or on the standard input.
func (i *tokenInspectCmd) read() (string, error) {
	token := i.Token
	if token == "" || token == "-" {
		in := i.Stdin
		if in == nil {
			in = os.Stdin
		}
		b, err := io.ReadAll(io.LimitReader(in, maxTokenInput+1))
		if err != nil {
			return "", fmt.Errorf("the token cannot be read: %w", err)
		}
		token = string(b)
	}
	token = strings.TrimPrefix(strings.TrimSpace(token), "Bearer ")
	switch {
	case token == "":
		return "", usageError{errors.New("no token: give it to the standard input")}
	case len(token) > maxTokenInput:
		return "", fmt.Errorf("the token is longer than %d bytes", maxTokenInput)
	}
	return token, nil
}

// readToken takes a token to pieces. Nothing is checked.
func readToken(token string) (*tokenReport, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("this is no JSON Web Token: of an opaque one, only its issuer can say something")
	}
	r := &tokenReport{TokenID: auth.HashToken(token)}
	for n, to := range []*json.RawMessage{&r.Header, &r.Claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil || !json.Valid(b) || !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
			return nil, errors.New("this is no JSON Web Token: a part of it is no JSON object in base64url")
		}
		*to = b
	}
	var claims map[string]any
	if err := json.Unmarshal(r.Claims, &claims); err != nil {
		return nil, errors.New("this is no JSON Web Token: its claims cannot be read")
	}
	for name, to := range map[string]**time.Time{"iat": &r.IssuedAt, "nbf": &r.NotBefore, "exp": &r.ExpiresAt} {
		if seconds, ok := claims[name].(float64); ok && math.Abs(seconds) < maxTokenTime {
			t := time.Unix(int64(seconds), 0).UTC()
			*to = &t
		}
	}
	if id, ok := claims["jti"].(string); ok && id != "" {
		r.TokenID = id
	}
	return r, nil
}

// judge says whether the token is good, as far as it can be told.
func (i *tokenInspectCmd) judge(token string, r *tokenReport) error {
	flags := identifyFlags{SecretFile: i.SecretFile, Keys: i.Keys, JWKS: i.JWKS}
	keys, ends, err := flags.keys(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer ends.Close()
	if len(keys) == 0 {
		r.Signature, r.Error = signatureUnchecked, r.timeFault(time.Now())
		r.Valid = r.Error == nil
		return nil
	}
	cfg := auth.JWTConfig{Keys: auth.JoinKeys(keys...), Issuers: i.Issuer, Audiences: i.Audience}
	id, fault, err := verifyWith(cfg, token)
	if err != nil {
		return usageError{err}
	}
	if fault == nil {
		r.Signature, r.Valid, r.User, r.TokenID = signatureGood, true, id.User, id.TokenID
		return nil
	}
	r.Error = &tokenFault{fault.Reason, fault.Message}
	if fault.Reason == auth.ReasonUnavailable {
		r.Error.Message = fault.Error()
	}
	cfg.Issuers = nil // it is looked at before the signature
	_, fault, err = verifyWith(cfg, token)
	switch {
	case err != nil:
		return usageError{err}
	case fault == nil:
		r.Signature = signatureGood
	default:
		r.Signature = signatureOf(fault.Reason)
	}
	return nil
}

// verifyWith asks a verifier of that configuration; err is about the configuration.
func verifyWith(cfg auth.JWTConfig, token string) (id *auth.Identity, fault *auth.Error, err error) {
	v, err := auth.NewJWT(cfg)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	id, err = v.Verify(ctx, token)
	return id, auth.AsError(err), nil
}

// signatureOf is what a refusal says of the signature, which is checked before the claims.
func signatureOf(reason auth.Reason) string {
	switch reason {
	case auth.ReasonExpired, auth.ReasonNotYetValid, auth.ReasonWrongAudience:
		return signatureGood
	case auth.ReasonBadSignature:
		return signatureBad
	default:
		return signatureUnchecked
	}
}

// timeFault is what can be said without a key: what a server says that has the usual leeway.
func (r *tokenReport) timeFault(now time.Time) *tokenFault {
	switch {
	case r.ExpiresAt != nil && !now.Before(r.ExpiresAt.Add(auth.DefaultLeeway)):
		return &tokenFault{auth.ReasonExpired, "the access token expired at " + r.ExpiresAt.Format(time.RFC3339)}
	case r.NotBefore != nil && now.Add(auth.DefaultLeeway).Before(*r.NotBefore):
		return &tokenFault{auth.ReasonNotYetValid, "the access token is not valid before " + r.NotBefore.Format(time.RFC3339)}
	}
	return nil
}

// text is the report for people.
func (r *tokenReport) text(now time.Time) string {
	var b strings.Builder
	for _, part := range []struct {
		name string
		json json.RawMessage
	}{{"header", r.Header}, {"claims", r.Claims}} {
		var indented bytes.Buffer
		if err := json.Indent(&indented, part.json, "", "  "); err != nil { // it was looked at
			continue
		}
		b.WriteString(part.name)
		for line := range strings.SplitSeq(indented.String(), "\n") {
			b.WriteString(" " + printable(line) + "\n")
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
	fmt.Fprintf(&b, "%-11s%s\n%-11s", "token id", printable(r.TokenID), "signature")
	b.WriteString(r.Signature + "\nverdict    ")
	switch {
	case r.Error != nil:
		fmt.Fprintf(&b, "not good: %s: %s\n", r.Error.Code, r.Error.Message)
	case r.Signature == signatureGood:
		fmt.Fprintf(&b, "good, for the user %q\n", r.User)
	default:
		b.WriteString("nothing speaks against it, but without a key to check the signature, anybody can have made it\n")
	}
	return b.String()
}

// fromNow says when something is or was.
func fromNow(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}
