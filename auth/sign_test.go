package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// TestSignNamesItsKey: the kid of a token is that of its key; without one, the token has none. RFC 7515 §4.1.4.
func TestSignNamesItsKey(t *testing.T) {
	private, _, err := GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"a JWK": private, "a secret": []byte(strings.Repeat("s", 32))} {
		key, err := ParsePrivateKey(file)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := key.Sign(map[string]any{"sub": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(signed, ".")
		b, err := base64.RawURLEncoding.DecodeString(first)
		if err != nil {
			t.Fatal(err)
		}
		var header map[string]string
		if err := json.Unmarshal(b, &header); err != nil {
			t.Fatal(err)
		}
		if kid, ok := header["kid"]; kid != key.ID() || ok != (key.ID() != "") {
			t.Errorf("%s: got the header %s, want the kid %q", name, b, key.ID())
		}
	}
}

// TestThumbprint uses the example of RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	got, err := thumbprint(ed25519.PublicKey(public))
	if want := "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
