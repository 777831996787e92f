package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// josePackage is the package that most JavaScript servers sign tokens with.
const josePackage = "jose@6.1.0"

// TestJose: tokens signed by npm's jose are accepted here, and those signed here are accepted there.
func TestJose(t *testing.T) {
	node, npm := findTool(t, "node"), findTool(t, "npm")
	dir := t.TempDir()
	script, err := os.ReadFile(filepath.Join("testdata", "jose.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "jose.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // a package is loaded from the network
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", dir, josePackage)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s: %v\n%s", josePackage, err, out)
	}

	type signed struct {
		Token string          `json:"token"`
		JWK   json.RawMessage `json:"jwk"`
	}
	algorithms := []string{"HS256", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"}
	ours := make(map[string]signed)
	for _, alg := range algorithms {
		private, public := pair(t, alg)
		key, err := auth.ParsePrivateKey([]byte(private))
		if err != nil {
			t.Fatal(err)
		}
		if public == "" {
			public = private
		}
		claims := map[string]any{"sub": "bob", "aud": "expedite", "exp": time.Now().Add(time.Hour).Unix()}
		ours[alg] = signed{mustSign(t, key, claims), json.RawMessage(public)}
	}
	in, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, node, filepath.Join(dir, "jose.mjs"))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var theirs struct {
		Verified map[string]string `json:"verified"`
		Signed   map[string]signed `json:"signed"`
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	for _, alg := range algorithms {
		if theirs.Verified[alg] != "bob" {
			t.Errorf("%s: jose got the user %q of our token, want bob", alg, theirs.Verified[alg])
		}
	}
	if len(theirs.Signed) != 6 {
		t.Errorf("jose signed %d tokens, want 6", len(theirs.Signed))
	}
	var set []string
	for _, s := range theirs.Signed {
		set = append(set, string(s.JWK))
	}
	keys, err := auth.ParseKeys([]byte(`{"keys":[` + strings.Join(set, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	v := mustJWT(t, auth.JWTConfig{Keys: keys, Issuers: []string{testIssuer}, Audiences: []string{testAudience}})
	for alg, s := range theirs.Signed {
		id, err := verify(t, v, s.Token)
		if err != nil || id.User != "alice" || id.TokenID != "jose-1" || !id.HasScope("chat:read") || id.Claims["urn:example:claim"] != true || id.Expiry.IsZero() {
			t.Errorf("%s of jose: got %+v, %v", alg, id, err)
		}
		if _, err := verify(t, v, s.Token[:len(s.Token)-20]+strings.Repeat("A", 20)); err == nil {
			t.Errorf("%s of jose with another signature: accepted", alg)
		}
	}
}

// findTool finds a program that the test needs. scripts/test-tools, which `make test` runs, installs it.
func findTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: `make test` installs what is missing, if it may", name)
	}
	return path
}
