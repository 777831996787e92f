package auth_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/identity"
)

// TestAlgorithms: each algorithm is accepted with a suitable key.
func TestAlgorithms(t *testing.T) {
	k := testKeys()
	v := k.verifier(t)
	for _, tt := range []struct {
		alg, name, kid string
		key            any
	}{
		{"HS256", "HS256", "hmac", []byte(testSecret)},
		{"HS384", "HS384", "hmac", []byte(testSecret)},
		{"HS512", "HS512", "hmac", []byte(testSecret)},
		{"RS256", "RS256", "rsa", k.rsa},
		{"RS384", "RS384", "rsa", k.rsa},
		{"RS512", "RS512", "rsa", k.rsa},
		{"PS256", "PS256", "rsa", k.rsa},
		{"PS384", "PS384", "rsa", k.rsa},
		{"PS512", "PS512", "rsa", k.rsa},
		{"RS256", "RS256", "rs256-only", k.otherRSA},
		{"ES256", "ES256", "ec", k.ec},
		{"ES384", "ES384", "ec384", k.ec384},
		{"ES512", "ES512", "ec521", k.ec521},
		{"EdDSA", "EdDSA", "ed", k.ed},
		{"EdDSA", "Ed25519", "ed", k.ed},
	} {
		for _, header := range []string{`{"alg":"` + tt.name + `","kid":"` + tt.kid + `"}`, `{"typ":"at+jwt","alg":"` + tt.name + `"}`} {
			id, err := verify(t, v, token(t, header, genuine, tt.alg, tt.key))
			if err != nil || id.User != "alice" || id.TokenID != "token-1" || id.Issuer != testIssuer {
				t.Errorf("%s: got %+v, %v", header, id, err)
			}
		}
	}
}

// TestClaims: the Identity that Verify makes of the claims of a valid token.
func TestClaims(t *testing.T) {
	at := func(seconds float64) time.Time { return time.Unix(0, int64(seconds*1e9)).UTC() }
	for _, tt := range []struct {
		name   string
		cfg    auth.JWTConfig
		claims map[string]any
		want   auth.Identity // without the token id
		reason auth.Reason
	}{
		{
			name: "the least", claims: map[string]any{"sub": "alice", "exp": 1780315260},
			want: auth.Identity{User: "alice", Expiry: at(1780315260), Leeway: auth.DefaultLeeway},
		},
		{
			name: "no expiry, if that is accepted", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice"},
			want: auth.Identity{User: "alice"},
		},
		{
			name: "exp and nbf within the leeway", claims: map[string]any{"sub": "alice", "exp": 1780315196, "nbf": 1780315205, "iat": 1e9},
			want: auth.Identity{User: "alice", Expiry: at(1780315196), Leeway: auth.DefaultLeeway},
		},
		{
			name: "exp without leeway", cfg: auth.JWTConfig{Leeway: -1}, claims: map[string]any{"sub": "alice", "exp": 1780315200}, reason: auth.ReasonExpired,
		},
		{
			name: "exp with a fraction", cfg: auth.JWTConfig{Leeway: -1}, claims: map[string]any{"sub": "alice", "exp": 1780315200.5},
			want: auth.Identity{User: "alice", Expiry: at(1780315200.5)},
		},
		{
			name: "exp with more leeway", cfg: auth.JWTConfig{Leeway: time.Hour}, claims: map[string]any{"sub": "alice", "exp": 1780312000},
			want: auth.Identity{User: "alice", Expiry: at(1780312000), Leeway: time.Hour},
		},
		{
			name: "the last second that is a time", claims: map[string]any{"sub": "alice", "exp": 253402300799, "nbf": 0, "iat": 0},
			want: auth.Identity{User: "alice", Expiry: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Leeway: auth.DefaultLeeway},
		},
		{
			name: "a second later", claims: map[string]any{"sub": "alice", "exp": 253402300800}, reason: auth.ReasonMalformed,
		},
		{
			name: "a user of two words", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "Alice B."},
			want: auth.Identity{User: "Alice B."},
		},
		{
			name: "as many scopes as may be", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "scope": strings.Repeat("a ", 256)},
			want: auth.Identity{User: "alice", Scopes: []string{"a"}},
		},
		{
			name: "one scope more", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "scope": strings.Repeat("a ", 257)},
			reason: auth.ReasonMalformed,
		},
		{
			name: "one of several audiences and issuers", cfg: auth.JWTConfig{NoExpiry: true, Audiences: []string{"a", "b"}, Issuers: []string{"x", "y"}},
			claims: map[string]any{"sub": "alice", "aud": []string{"c", "b"}, "iss": "y"}, want: auth.Identity{User: "alice", Issuer: "y"},
		},
		{
			name: "any audience and issuer", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "aud": "whoever", "iss": "whoever"},
			want: auth.Identity{User: "alice", Issuer: "whoever"},
		},
		{
			name: "scope as text", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "scope": " chat:read  chat:write chat:read"},
			want: auth.Identity{User: "alice", Scopes: []string{"chat:read", "chat:write"}},
		},
		{
			name: "scp as a list", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "scp": []string{"a", "b c", ""}},
			want: auth.Identity{User: "alice", Scopes: []string{"a", "b c"}},
		},
		{
			name: "scopes of another claim", cfg: auth.JWTConfig{NoExpiry: true, ScopeClaims: []string{"roles"}}, claims: map[string]any{"sub": "alice", "scope": "x", "roles": []string{"a"}},
			want: auth.Identity{User: "alice", Scopes: []string{"a"}, Claims: map[string]any{"roles": []any{"a"}}},
		},
		{
			name: "user of another claim", cfg: auth.JWTConfig{NoExpiry: true, UserClaim: "email"}, claims: map[string]any{"sub": "7", "email": "a@example.com"},
			want: auth.Identity{User: "a@example.com", Claims: map[string]any{"email": "a@example.com"}},
		},
		{
			name: "other claims", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "a": 1, "b": map[string]any{"c": []any{nil}}, "azp": "x"},
			want: auth.Identity{User: "alice", Claims: map[string]any{"a": 1.0, "b": map[string]any{"c": []any{nil}}, "azp": "x"}},
		},
		{
			name: "some other claims", cfg: auth.JWTConfig{NoExpiry: true, Claims: []string{"a", "none"}}, claims: map[string]any{"sub": "alice", "a": 1, "b": 2},
			want: auth.Identity{User: "alice", Claims: map[string]any{"a": 1.0}},
		},
		{
			name: "no other claims", cfg: auth.JWTConfig{NoExpiry: true, Claims: []string{}}, claims: map[string]any{"sub": "alice", "a": 1},
			want: auth.Identity{User: "alice"},
		},
		{
			name: "too many other claims", cfg: auth.JWTConfig{NoExpiry: true}, claims: map[string]any{"sub": "alice", "a": strings.Repeat("x", auth.MaxClaims)},
			want: auth.Identity{User: "alice", Partial: true},
		},
		{
			name: "too many, of which few are kept", cfg: auth.JWTConfig{NoExpiry: true, Claims: []string{"b"}}, claims: map[string]any{"sub": "alice", "a": strings.Repeat("x", auth.MaxClaims), "b": true},
			want: auth.Identity{User: "alice", Claims: map[string]any{"b": true}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			cfg.Keys, cfg.Now = auth.Secret([]byte(testSecret)), func() time.Time { return testNow }
			tok := signHS(t, tt.claims)
			id, err := verify(t, mustJWT(t, cfg), tok)
			if got := reason(err); got != tt.reason {
				t.Fatalf("got %q (%v), want %q", got, err, tt.reason)
			}
			if err != nil {
				return
			}
			want := tt.want
			want.TokenID = auth.HashToken(tok)
			if !reflect.DeepEqual(*id, want) {
				t.Errorf("got %+v, want %+v", *id, want)
			}
			again, err := identity.Parse(identity.Append(nil, id))
			if err != nil || !reflect.DeepEqual(again, want) {
				t.Errorf("behind a move: got %+v, %v, want %+v", again, err, want)
			}
		})
	}
}

// TestTokenID: the jti is the token id if it is valid.
func TestTokenID(t *testing.T) {
	v := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret)), NoExpiry: true})
	for _, tt := range []struct {
		name string
		jti  any
		kept bool
	}{
		{"text", "abc", true},
		{"as long as may be", strings.Repeat("a", 128), true},
		{"too long", strings.Repeat("a", 129), false},
		{"empty", "", false},
		{"a number", 7, false},
		{"with a line end", "a\nb", false},
	} {
		tok := signHS(t, map[string]any{"sub": "alice", "jti": tt.jti})
		id, err := verify(t, v, tok)
		if err != nil {
			t.Fatal(err)
		}
		want := auth.HashToken(tok)
		if tt.kept {
			want = tt.jti.(string)
		}
		if id.TokenID != want {
			t.Errorf("%s: got %q, want %q", tt.name, id.TokenID, want)
		}
	}
}

// TestAlgorithmList: only listed algorithms are accepted, however suitable the key.
func TestAlgorithmList(t *testing.T) {
	k := testKeys()
	v := mustJWT(t, auth.JWTConfig{Keys: k.set(), Algorithms: []string{"ES256", "HS512"}, Now: func() time.Time { return testNow }})
	for alg, tt := range map[string]struct {
		key any
		ok  bool
	}{
		"ES256": {k.ec, true}, "HS512": {[]byte(testSecret), true}, "HS256": {[]byte(testSecret), false}, "RS256": {k.rsa, false}, "EdDSA": {k.ed, false},
	} {
		if _, err := verify(t, v, token(t, `{"alg":"`+alg+`"}`, genuine, alg, tt.key)); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", alg, err, tt.ok)
		}
	}
}

// TestNewJWTRefuses: a configuration that could verify nothing, or not safely, is an error of NewJWT.
func TestNewJWTRefuses(t *testing.T) {
	k := testKeys()
	good := auth.Secret([]byte(testSecret))
	for _, tt := range []struct {
		name string
		cfg  auth.JWTConfig
		want string
	}{
		{"no keys", auth.JWTConfig{}, "without keys"},
		{"an empty set", auth.JWTConfig{Keys: auth.KeySet{}}, "no key"},
		{"a short secret", auth.JWTConfig{Keys: auth.Secret([]byte("too short"))}, "9 bytes: want at least 32"},
		{"a short secret beside a good one", auth.JWTConfig{Keys: auth.JoinKeys(good, auth.Secret(nil))}, "0 bytes"},
		{"a PEM file as a secret", auth.JWTConfig{Keys: auth.Secret([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"))}, "PEM"},
		{"a private key", auth.JWTConfig{Keys: auth.KeySet{{Public: k.ed}}}, "ed25519.PrivateKey"},
		{"a key for what it is not good for", auth.JWTConfig{Keys: auth.KeySet{{Public: k.ed.Public(), Algorithms: []string{"HS256"}}}}, "does not support"},
		{"an unknown algorithm", auth.JWTConfig{Keys: good, Algorithms: []string{"HS257"}}, `"HS257"`},
		{"none", auth.JWTConfig{Keys: good, Algorithms: []string{"none"}}, `"none"`},
	} {
		if _, err := auth.NewJWT(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "auth: ") {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := auth.NewIssuers(auth.JWTConfig{}, nil); err == nil {
		t.Error("no issuers: got no error")
	}
}

// FuzzJWT: any unsigned token is refused by an *Error that does not contain it.
func FuzzJWT(f *testing.F) {
	k := testKeys()
	v := k.verifier(f)
	f.Add(b64(`{"alg":"HS256"}`) + "." + b64(genuine) + ".AAAA")
	f.Add(token(f, `{"alg":"RS256","kid":"rsa"}`, genuine, "RS256", k.otherRSA))
	f.Add(b64(`{"alg":"none","crit":[]}`) + "..")
	f.Fuzz(func(t *testing.T, tok string) {
		id, err := verify(t, v, tok)
		if err == nil || id != nil {
			t.Errorf("got %v, %v", id, err)
		}
		if r := reason(err); strings.HasPrefix(string(r), "no ") {
			t.Error(r)
		}
	})
}

// FuzzClaims: no signed claims make the verifier panic, and an accepted Identity survives a move.
func FuzzClaims(f *testing.F) {
	v := mustJWT(f, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret)), Now: func() time.Time { return testNow }})
	f.Add(genuine)
	f.Add(`{"sub":"a","exp":1e10,"scope":"a b","x":[{"y":null}],"nbf":1.5}`)
	f.Fuzz(func(t *testing.T, claims string) {
		id, err := verify(t, v, token(t, `{"alg":"HS256"}`, claims, "HS256", []byte(testSecret)))
		if err != nil {
			return
		}
		again, err := identity.Parse(identity.Append(nil, id))
		if err != nil || again.User == "" || again.Expiry.IsZero() || !reflect.DeepEqual(again, *id) {
			t.Errorf("got %+v, %v, want %+v", again, err, *id)
		}
	})
}

// TestNoKeys: missing keys are an error of NewJWT, however they are wrapped.
func TestNoKeys(t *testing.T) {
	good := auth.Secret([]byte(testSecret))
	for name, keys := range map[string]auth.KeySource{
		"nil": nil, "a nil file": (*auth.File)(nil), "a nil JWK set": (*auth.JWKS)(nil), "an empty set": auth.KeySet(nil),
		"nil beside a good one": auth.JoinKeys(good, nil), "a nil file beside a good one": auth.JoinKeys(good, (*auth.File)(nil)),
		"none joined": auth.JoinKeys(), "joined twice": auth.JoinKeys(auth.JoinKeys(good, (*auth.JWKS)(nil))),
	} {
		if _, err := auth.NewJWT(auth.JWTConfig{Keys: keys}); err == nil || !strings.Contains(err.Error(), "key") {
			t.Errorf("%s: got %v, want an error", name, err)
		}
		if _, err := auth.NewIssuers(auth.JWTConfig{}, map[string]auth.KeySource{"iss": keys}); err == nil {
			t.Errorf("%s, of an issuer: got no error", name)
		}
	}
}
