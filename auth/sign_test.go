package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"
)

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
