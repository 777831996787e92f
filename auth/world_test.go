package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/expedite-go/expedite/auth"
)

// patience is the limit of every wait. Reaching it is a failure; no test depends on being faster.
const patience = 30 * time.Second

const (
	testIssuer   = "https://issuer.test"
	testAudience = "expedite"
	testSecret   = "correct horse battery staple and much more, for HS512 as well..."
)

// testNow is the current time in the tests of claims.
var testNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// keys are generated once, because RSA takes a while.
type keys struct {
	rsa, otherRSA *rsa.PrivateKey
	ec, ec384     *ecdsa.PrivateKey
	ec521         *ecdsa.PrivateKey
	ed, otherEd   ed25519.PrivateKey
}

var testKeys = sync.OnceValue(func() keys {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var k keys
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.ec384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.ec521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	_, k.otherEd, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// set returns the public halves with their IDs.
func (k keys) set() auth.KeySet {
	return auth.KeySet{
		{ID: "rsa", Public: &k.rsa.PublicKey},
		{ID: "rs256-only", Algorithms: []string{"RS256"}, Public: &k.otherRSA.PublicKey},
		{ID: "ec", Public: &k.ec.PublicKey},
		{ID: "ec384", Public: &k.ec384.PublicKey},
		{ID: "ec521", Public: &k.ec521.PublicKey},
		{ID: "ed", Public: k.ed.Public()},
		{ID: "hmac", Public: []byte(testSecret)},
	}
}

// verifier returns a JWT for the test's issuer and audience.
func (k keys) verifier(t testing.TB) *auth.JWT {
	t.Helper()
	return mustJWT(t, auth.JWTConfig{
		Keys: k.set(), Issuers: []string{testIssuer}, Audiences: []string{testAudience},
		Now: func() time.Time { return testNow },
	})
}

func mustJWT(t testing.TB, cfg auth.JWTConfig) *auth.JWT {
	t.Helper()
	v, err := auth.NewJWT(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// genuine has the claims of an accepted token, as JSON.
const genuine = `{"iss":"https://issuer.test","sub":"alice","aud":"expedite","exp":1780315260,"jti":"token-1"}`

// b64 encodes a part of a token.
func b64[T ~string | ~[]byte](s T) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// token signs a header and claims exactly as given.
func token(t testing.TB, header, claims, alg string, key any) string {
	t.Helper()
	signed := b64(header) + "." + b64(claims)
	return signed + "." + b64(signature(t, signed, alg, key))
}

func signature(t testing.TB, signed, alg string, key any) []byte {
	t.Helper()
	sig, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// signHS returns a token with the given claims, signed with the test's secret, without a kid.
func signHS(t testing.TB, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token(t, `{"alg":"HS256"}`, string(b), "HS256", []byte(testSecret))
}

// reason returns the Reason of an error, or "".
func reason(err error) auth.Reason {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		return e.Reason
	}
	return auth.Reason("no *auth.Error: " + err.Error())
}

// wantSilent checks that an error contains no part of a token.
func wantSilent(t *testing.T, err error, token string) {
	t.Helper()
	e := auth.AsError(err)
	if e == nil {
		return
	}
	said := e.Error() + "\n" + string(e.Body()) + "\n" + e.Challenge()
	for part := range strings.SplitSeq(token, ".") {
		for i := 0; i+12 <= len(part); i += 12 {
			if strings.Contains(said, part[i:i+12]) {
				t.Errorf("the error repeats a part of the token: %s", said)
				return
			}
		}
	}
}

// verify calls v within patience.
func verify(t testing.TB, v auth.Verifier, token string) (*auth.Identity, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return v.Verify(ctx, token)
}
