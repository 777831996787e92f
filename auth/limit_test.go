package auth_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

// TestSecretLengths: a secret is suitable for the hashes that are not longer than it is. RFC 7518 §3.2.
func TestSecretLengths(t *testing.T) {
	for _, tt := range []struct {
		length int
		want   string
	}{
		{31, "[]"},
		{32, "[HS256]"},
		{47, "[HS256]"},
		{48, "[HS256 HS384]"},
		{63, "[HS256 HS384]"},
		{64, "[HS256 HS384 HS512]"},
		{1000, "[HS256 HS384 HS512]"},
	} {
		key := auth.Secret(make([]byte, tt.length))[0]
		if got, want := key.String(), `key "" for `+tt.want; got != want {
			t.Errorf("%d bytes: got %s, want %s", tt.length, got, want)
		}
	}
}

// TestRSALengths: the limits themselves are accepted. RFC 7518 §3.3.
func TestRSALengths(t *testing.T) {
	for bits, ok := range map[uint]bool{2047: false, 2048: true, 8192: true, 8193: false} {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		set := auth.KeySet{{Public: &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}}}
		if _, err := auth.NewJWT(auth.JWTConfig{Keys: set}); (err == nil) != ok {
			t.Errorf("%d bits: got %v, want ok %v", bits, err, ok)
		}
	}
	for what, key := range map[string]any{
		"nil": (*rsa.PublicKey)(nil), "without a modulus": &rsa.PublicKey{},
		"nil of ECDSA": (*ecdsa.PublicKey)(nil), "without a curve": &ecdsa.PublicKey{},
	} {
		if _, err := auth.NewJWT(auth.JWTConfig{Keys: auth.KeySet{{Public: key}}}); err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
}

// TestKeyFileLimits: 64 keys and 1 MiB are accepted; TestParseKeys has one more of each.
func TestKeyFileLimits(t *testing.T) {
	_, public := pair(t, "EdDSA")
	many := `{"keys":[` + strings.Repeat(public+",", 63) + public + "]}"
	if set, err := auth.ParseKeys([]byte(many)); err != nil || len(set) != 64 {
		t.Errorf("64 keys: got %d, %v", len(set), err)
	}
	large := public + strings.Repeat(" ", 1<<20-len(public))
	if set, err := auth.ParseKeys([]byte(large)); err != nil || len(set) != 1 {
		t.Errorf("1 MiB: got %v, %v", set, err)
	}
	path := t.TempDir() + "/keys.json"
	write(t, path, large)
	if _, err := auth.KeyFile(path); err != nil {
		t.Errorf("a file of 1 MiB: got %v", err)
	}
	write(t, path, large+" ")
	if _, err := auth.KeyFile(path); err == nil {
		t.Error("a file of one byte more: got no error")
	}
}

// TestTokenLimits: the limits of tokens and key IDs themselves are accepted.
func TestTokenLimits(t *testing.T) {
	v := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret)), NoExpiry: true})
	sized := func(kid, filler int) string {
		header := fmt.Sprintf(`{"alg":"HS256","kid":"%s"}`, strings.Repeat("k", kid))
		return token(t, header, `{"sub":"alice","x":"`+strings.Repeat("x", filler)+`"}`, "HS256", []byte(testSecret))
	}
	want(t, v, "a key ID of 256 bytes", sized(256, 0), "")
	want(t, v, "a key ID of 257 bytes", sized(257, 0), auth.ReasonMalformed)
	// Base64 makes four characters of three bytes, so one of three lengths of the key ID fits exactly.
	const most = 64 << 10
	found := false
	for kid := range 3 {
		filler := most * 3 / 4
		for len(sized(kid, filler)) > most {
			filler--
		}
		tok := sized(kid, filler)
		found = found || len(tok) == most
		want(t, v, fmt.Sprintf("a token of %d bytes", len(tok)), tok, "")
		want(t, v, "a longer token", sized(kid, filler+2), auth.ReasonMalformed)
	}
	if !found {
		t.Error("no token is as long as may be")
	}
}
