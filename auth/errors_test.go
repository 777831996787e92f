package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

func TestErrorAnswers(t *testing.T) {
	const realm = `Bearer realm="expedite"`
	for _, tt := range []struct {
		reason    auth.Reason
		status    int
		kind      string
		challenge string // a part of it after the realm; - means no challenge
		retry     bool
	}{
		{auth.ReasonMissing, 401, "invalid_request", "", false},
		{auth.ReasonMalformed, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonExpired, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonNotYetValid, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonWrongAudience, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonWrongIssuer, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonBadSignature, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonRevoked, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonUnknown, 401, "invalid_token", `error="invalid_token"`, false},
		{auth.ReasonForbidden, 403, "insufficient_scope", `error="insufficient_scope"`, false},
		{auth.ReasonOrigin, 403, "forbidden_origin", "-", false},
		{auth.ReasonUnavailable, 503, "temporarily_unavailable", "-", true},
		{auth.ReasonOverloaded, 503, "temporarily_unavailable", "-", true},
	} {
		t.Run(string(tt.reason), func(t *testing.T) {
			e := &auth.Error{Reason: tt.reason, Err: errors.New("the cause")}
			if got := e.Status(); got != tt.status {
				t.Errorf("status: got %d, want %d", got, tt.status)
			}
			switch got := e.Challenge(); {
			case tt.challenge == "-" && got != "", tt.challenge == "" && got != realm:
				t.Errorf("challenge: got %q", got)
			case tt.challenge != "-" && !strings.HasPrefix(got, realm), tt.challenge != "-" && !strings.Contains(got, tt.challenge):
				t.Errorf("challenge: got %q, want %q in it", got, tt.challenge)
			}
			if got := e.RetryAfter() > 0; got != tt.retry {
				t.Errorf("retry: got %v, want %v", e.RetryAfter(), tt.retry)
			}
			var body struct {
				Error struct{ Type, Code, Message string }
			}
			if err := json.Unmarshal(e.Body(), &body); err != nil {
				t.Fatal(err)
			}
			if b := body.Error; b.Type != tt.kind || b.Code != string(tt.reason) || b.Message == "" || strings.Contains(b.Message, "cause") {
				t.Errorf("body: got %+v, want type %s and code %s", b, tt.kind, tt.reason)
			}
			if got := e.Error(); !strings.HasPrefix(got, "auth: "+string(tt.reason)+": ") || !strings.HasSuffix(got, ": the cause") {
				t.Errorf("error: got %q", got)
			}
		})
	}
}

// TestChallengeIsQuoted: a message can neither break out of the header field nor be too long.
func TestChallengeIsQuoted(t *testing.T) {
	e := &auth.Error{Reason: auth.ReasonExpired, Message: "a\"b\\c\r\nSet-Cookie: x\x00 ü" + strings.Repeat("ü", 1000)}
	got := e.Challenge()
	if strings.ContainsAny(got, "\r\n\x00\\") || strings.Count(got, `"`) != 6 || len(got) > 400 {
		t.Errorf("got %q", got)
	}
	if !json.Valid(e.Body()) || len(e.Body()) > 1000 {
		t.Errorf("got %q", e.Body())
	}
}

// TestChallengeKeepsText: what RFC 6750 §3 allows in an error_description stays as it is.
func TestChallengeKeepsText(t *testing.T) {
	e := &auth.Error{Reason: auth.ReasonExpired, Message: "a !#[]~ z"}
	want := `Bearer realm="expedite", error="invalid_token", error_description="a !#[]~ z"`
	if got := e.Challenge(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestChainReportsTheLast: of several Verifiers that do not know a token, the error of the last one counts.
func TestChainReportsTheLast(t *testing.T) {
	unknown := func(message string) auth.Verifier {
		return auth.VerifierFunc(func(context.Context, string) (*auth.Identity, error) {
			return nil, &auth.Error{Reason: auth.ReasonUnknown, Message: message}
		})
	}
	_, err := verify(t, auth.Chain(unknown("first"), unknown("last")), "token")
	if got := auth.AsError(err); got == nil || got.Message != "last" {
		t.Errorf("got %v, want the last error", err)
	}
}

func TestAsError(t *testing.T) {
	if got := auth.AsError(nil); got != nil {
		t.Errorf("nil: got %v", got)
	}
	e := &auth.Error{Reason: auth.ReasonExpired}
	if got := auth.AsError(fmt.Errorf("wrapped: %w", e)); got != e {
		t.Errorf("wrapped: got %v", got)
	}
	got := auth.AsError(context.DeadlineExceeded)
	if got.Reason != auth.ReasonUnavailable || !errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("another error: got %v", got)
	}
}

func TestChain(t *testing.T) {
	k := testKeys()
	answer := func(id *auth.Identity, err error) auth.Verifier {
		return auth.VerifierFunc(func(context.Context, string) (*auth.Identity, error) { return id, err })
	}
	says := func(r auth.Reason) auth.Verifier { return answer(nil, &auth.Error{Reason: r}) }
	alice := answer(&auth.Identity{User: "alice"}, nil)
	now := func() time.Time { return testNow }
	secret := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret)), Now: now})
	rs := mustJWT(t, auth.JWTConfig{Keys: auth.KeySet{{ID: "rsa", Public: &k.rsa.PublicKey}}, Now: now})
	other := mustJWT(t, auth.JWTConfig{Keys: auth.KeySet{{ID: "rsa", Public: &k.rsa.PublicKey}}, Issuers: []string{"https://other.test"}, Now: now})
	rsToken := token(t, `{"alg":"RS256","kid":"rsa"}`, genuine, "RS256", k.rsa)
	for _, tt := range []struct {
		name  string
		chain []auth.Verifier
		token string
		want  auth.Reason
	}{
		{"nobody", nil, "t", auth.ReasonUnknown},
		{"the first knows", []auth.Verifier{alice, says(auth.ReasonExpired)}, "t", ""},
		{"unknown passes on", []auth.Verifier{says(auth.ReasonUnknown), alice}, "t", ""},
		{"wrong issuer passes on", []auth.Verifier{says(auth.ReasonWrongIssuer), alice}, "t", ""},
		{"unavailable passes on", []auth.Verifier{says(auth.ReasonUnavailable), alice}, "t", ""},
		{"expired is final", []auth.Verifier{says(auth.ReasonExpired), alice}, "t", auth.ReasonExpired},
		{"revoked is final", []auth.Verifier{says(auth.ReasonRevoked), alice}, "t", auth.ReasonRevoked},
		{"unavailable wins over unknown", []auth.Verifier{says(auth.ReasonUnavailable), says(auth.ReasonUnknown)}, "t", auth.ReasonUnavailable},
		{"unavailable wins over a wrong issuer", []auth.Verifier{says(auth.ReasonUnavailable), says(auth.ReasonWrongIssuer)}, "t", auth.ReasonUnavailable},
		{"a wrong issuer wins over unknown", []auth.Verifier{says(auth.ReasonWrongIssuer), says(auth.ReasonUnknown)}, "t", auth.ReasonWrongIssuer},
		{"no answer is unavailable", []auth.Verifier{answer(nil, nil), says(auth.ReasonUnknown)}, "t", auth.ReasonUnavailable},
		{"another error is unavailable", []auth.Verifier{answer(nil, errors.New("x")), says(auth.ReasonUnknown)}, "t", auth.ReasonUnavailable},
		{"opaque token behind a JWT verifier", []auth.Verifier{secret, alice}, "opaque", ""},
		{"opaque token in three parts", []auth.Verifier{secret, alice}, "v4.public.opaque", ""},
		{"JWT of another verifier's algorithm", []auth.Verifier{secret, rs}, rsToken, ""},
		{"JWT of another verifier's key id", []auth.Verifier{mustJWT(t, auth.JWTConfig{Keys: auth.KeySet{{ID: "x", Public: &k.otherRSA.PublicKey}}}), rs}, rsToken, ""},
		{"JWT of another issuer", []auth.Verifier{other, rs}, rsToken, ""},
		{"JWT of another issuer, at the end", []auth.Verifier{other, secret}, rsToken, auth.ReasonWrongIssuer},
		{"JWT with a bad signature is final", []auth.Verifier{rs, alice}, rsToken[:len(rsToken)-8] + "AAAAAAAA", auth.ReasonBadSignature},
		{"unsigned JWT with something behind it is final", []auth.Verifier{rs, alice}, b64(`{"alg":"None"}`) + "." + b64(genuine) + ".AAAA", auth.ReasonBadSignature},
		{"JWT with its signature stripped is final", []auth.Verifier{secret, alice}, b64(`{"alg":"RS256"}`) + "." + b64(genuine) + ".", auth.ReasonBadSignature},
		{"unsigned JWT is final", []auth.Verifier{rs, alice}, b64(`{"alg":"none"}`) + "." + b64(genuine) + ".", auth.ReasonBadSignature},
		{"nothing that anybody knows", []auth.Verifier{secret, says(auth.ReasonUnknown)}, "opaque", auth.ReasonUnknown},
		{"a chain in a chain", []auth.Verifier{auth.Chain(says(auth.ReasonUnknown), other), alice}, rsToken, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := verify(t, auth.Chain(tt.chain...), tt.token)
			if got := reason(err); got != tt.want || (err == nil && id.User != "alice") {
				t.Errorf("got %q, %v, want %q", got, id, tt.want)
			}
		})
	}
}
