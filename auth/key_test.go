package auth_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// block returns a PEM block of the result of a function of crypto/x509.
func block(t testing.TB, kind string) func(der []byte, err error) string {
	return func(der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
}

// pair is a generated key and its public half.
func pair(t testing.TB, alg string) (private, public string) {
	t.Helper()
	a, b, err := auth.GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	return string(a), string(b)
}

// change sets a member of a JWK, or removes it if value is nil.
func change(t testing.TB, jwk, member string, value any) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(jwk), &m); err != nil {
		t.Fatal(err)
	}
	if m[member] = value; value == nil {
		delete(m, member)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseKeys(t *testing.T) {
	k := testKeys()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPrivate, ecPublic := pair(t, "ES256")
	rsaPrivate, rsaPublic := pair(t, "PS256")
	edPrivate, edPublic := pair(t, "EdDSA")
	secret, _ := pair(t, "HS384")
	pkix := func(key any) string { return block(t, "PUBLIC KEY")(x509.MarshalPKIXPublicKey(key)) }
	pkcs8 := func(key any) string { return block(t, "PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(key)) }
	for _, tt := range []struct {
		name, in string
		want     string // algorithms of the keys, or a part of the error
		bad      bool
	}{
		{name: "PUBLIC KEY of RSA", in: pkix(&k.rsa.PublicKey), want: `key "" for [RS256 RS384 RS512 PS256 PS384 PS512]`},
		{name: "PUBLIC KEY of ECDSA", in: pkix(&k.ec384.PublicKey), want: `key "" for [ES384]`},
		{name: "PUBLIC KEY of Ed25519", in: pkix(k.ed.Public()), want: `key "" for [EdDSA Ed25519]`},
		{name: "RSA PUBLIC KEY", in: block(t, "RSA PUBLIC KEY")(x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), nil), want: `key "" for [RS256 RS384 RS512 PS256 PS384 PS512]`},
		{name: "PRIVATE KEY", in: pkcs8(k.ec521), want: `key "" for [ES512]`},
		{name: "EC PRIVATE KEY behind its parameters", in: "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + block(t, "EC PRIVATE KEY")(x509.MarshalECPrivateKey(k.ec)), want: `key "" for [ES256]`},
		{name: "RSA PRIVATE KEY", in: block(t, "RSA PRIVATE KEY")(x509.MarshalPKCS1PrivateKey(k.rsa), nil), want: `key "" for [RS256 RS384 RS512 PS256 PS384 PS512]`},
		{name: "CERTIFICATE", in: block(t, "CERTIFICATE")(certificate(t, k), nil), want: `key "" for [EdDSA Ed25519]`},
		{name: "several with text between them", in: "the old one\n" + pkix(&k.ec.PublicKey) + "\nthe new one\n" + pkix(k.ed.Public()), want: `key "" for [ES256] key "" for [EdDSA Ed25519]`},
		{name: "JWK", in: change(t, ecPublic, "kid", "one"), want: `key "one" for [ES256]`},
		{name: "JWK that is private", in: change(t, ecPrivate, "kid", "one"), want: `key "one" for [ES256]`},
		{name: "JWK of RSA", in: change(t, rsaPublic, "kid", "one"), want: `key "one" for [PS256]`},
		{name: "JWK of RSA that is private", in: change(t, rsaPrivate, "kid", "one"), want: `key "one" for [PS256]`},
		{name: "JWK without alg", in: change(t, change(t, rsaPublic, "kid", nil), "alg", nil), want: `key "" for [RS256 RS384 RS512 PS256 PS384 PS512]`},
		{name: "JWK of Ed25519", in: change(t, change(t, edPublic, "kid", "one"), "alg", "Ed25519"), want: `key "one" for [EdDSA Ed25519]`},
		{name: "JWK that is a secret", in: change(t, secret, "kid", "one"), want: `key "one" for [HS384]`},
		{name: "JWK with x5u, which is not fetched", in: change(t, change(t, ecPublic, "kid", "one"), "x5u", "https://127.0.0.1:1/x"), want: `key "one" for [ES256]`},
		{name: "JWK with x5c, which proves nothing", in: change(t, change(t, ecPublic, "kid", "one"), "x5c", []string{"!"}), want: `key "one" for [ES256]`},
		{name: "JWK for verifying", in: change(t, change(t, ecPublic, "kid", "one"), "key_ops", []string{"verify"}), want: `key "one" for [ES256]`},
		{name: "JWK for signing", in: change(t, change(t, ecPrivate, "kid", "one"), "key_ops", []string{"sign"}), want: `key "one" for [ES256]`},
		{name: "JWK set", in: `{"keys":[` + change(t, ecPublic, "kid", "a") + "," + change(t, edPublic, "kid", "b") + "]}", want: `key "a" for [ES256] key "b" for [EdDSA Ed25519]`},
		{name: "nothing", in: "", want: "neither PEM nor a JWK set", bad: true},
		{name: "a password", in: "hunter2hunter2hunter2hunter2hunter2", want: "neither PEM nor a JWK set", bad: true},
		{name: "a public key for ssh", in: "ssh-ed25519 AAAA alice", want: "neither PEM nor a JWK set", bad: true},
		{name: "JSON of something else", in: `{"a":1}`, want: "neither a JWK set nor a JWK", bad: true},
		{name: "JSON that is cut off", in: ecPublic[:20], want: "not the JSON", bad: true},
		{name: "empty set", in: `{"keys":[]}`, want: "no key", bad: true},
		{name: "PEM that is cut off", in: pkix(k.ed.Public())[:60], want: "no PEM block", bad: true},
		{name: "PEM of nonsense", in: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", want: "is malformed", bad: true},
		{name: "PEM of a signing request", in: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", want: "CERTIFICATE REQUEST", bad: true},
		{name: "encrypted", in: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", want: "decrypt it first", bad: true},
		{name: "RSA of 1024 bits", in: pkix(&weak.PublicKey), want: "1024 bits: want 2048 to 8192", bad: true},
		{name: "ECDSA on P-224", in: pkix(&p224.PublicKey), want: "P-224", bad: true},
		{name: "X25519", in: pkix(x25519.PublicKey()), want: "ecdh", bad: true},
		{name: "JWK for encryption", in: change(t, ecPublic, "use", "enc"), want: "not a key for signatures", bad: true},
		{name: "JWK for deriving", in: change(t, ecPublic, "key_ops", []string{"deriveKey"}), want: "not a key for signatures", bad: true},
		{name: "JWK for key wrapping", in: change(t, rsaPublic, "alg", "RSA-OAEP"), want: "does not sign", bad: true},
		{name: "JWK for none", in: change(t, rsaPublic, "alg", "none"), want: "does not sign", bad: true},
		{name: "JWK of RSA for HS256", in: change(t, rsaPublic, "alg", "HS256"), want: "does not support", bad: true},
		{name: "JWK of a point that is not on the curve", in: change(t, ecPublic, "x", b64(make([]byte, 32))), want: "not valid", bad: true},
		{name: "JWK set whose second key is bad", in: `{"keys":[` + ecPublic + `,{"kty":"EC"}]}`, want: "key 2 of 2: ", bad: true},
		{name: "JWK of another type", in: change(t, ecPublic, "kty", "PQC"), want: "not valid", bad: true},
		{name: "JWK of more than two primes", in: change(t, rsaPrivate, "oth", []any{map[string]string{"r": "AQ", "d": "AQ", "t": "AQ"}}), want: "two primes", bad: true},
		{name: "JWK of Ed25519 whose halves do not match", in: change(t, edPrivate, "x", b64(k.ed[32:])), want: "halves", bad: true},
		{name: "JWK of a short secret", in: `{"kty":"oct","k":"` + b64("short") + `"}`, want: "5 bytes", bad: true},
		{name: "too many", in: `{"keys":[` + strings.Repeat(ecPublic+",", 64) + ecPublic + "]}", want: "65 keys", bad: true},
		{name: "too large", in: `{"keys":[` + strings.Repeat(" ", 1<<20) + "]}", want: "bytes", bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := auth.ParseKeys([]byte(tt.in))
			if tt.bad {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "auth: keys: ") {
					t.Errorf("got %v, %v, want %q", set, err, tt.want)
				}
				return
			}
			var got []string
			for _, k := range set {
				got = append(got, fmt.Sprintf("%#v", k))
			}
			if s := strings.Join(got, " "); err != nil || s != tt.want {
				t.Errorf("got %s, %v, want %s", s, err, tt.want)
			}
		})
	}
}

// FuzzParseKeys: ParseKeys returns usable keys or an error.
func FuzzParseKeys(f *testing.F) {
	for _, alg := range []string{"HS256", "ES256", "EdDSA", "RS256"} {
		private, public := pair(f, alg)
		f.Add([]byte(private))
		f.Add([]byte(`{"keys":[` + public + `]}`))
	}
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := auth.ParseKeys(b)
		if (err == nil) != (len(set) > 0) {
			t.Errorf("got %v, %v", set, err)
		}
		if key, err := auth.ParsePrivateKey(b); err == nil {
			if _, err := key.Sign(map[string]any{"sub": "a"}); err != nil {
				t.Errorf("%v cannot sign: %v", key, err)
			}
		}
	})
}

func TestKeySetFind(t *testing.T) {
	k := testKeys()
	named, unnamed := auth.Key{ID: "a", Public: k.ed.Public()}, auth.Key{Public: k.otherEd.Public()}
	for _, tt := range []struct {
		name string
		set  auth.KeySource
		kid  string
		want int
	}{
		{"no kid: all", auth.KeySet{named, unnamed}, "", 2},
		{"the kid's own", auth.KeySet{named, unnamed}, "a", 1},
		{"unknown kid: those without", auth.KeySet{named, unnamed}, "b", 1},
		{"unknown kid, all have one", auth.KeySet{named}, "b", 0},
		{"two of one name", auth.KeySet{named, named}, "a", 2},
		{"joined", auth.JoinKeys(auth.KeySet{named}, auth.KeySet{unnamed}, auth.KeySet{}), "a", 2},
	} {
		got, err := tt.set.Keys(t.Context(), tt.kid)
		if err != nil || len(got) != tt.want {
			t.Errorf("%s: got %v, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}

// TestJoinKeys: the error of a source matters only if the others have no key.
func TestJoinKeys(t *testing.T) {
	k := testKeys()
	dead, err := auth.NewJWKS(auth.JWKSConfig{URL: "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	v := mustJWT(t, auth.JWTConfig{Keys: auth.JoinKeys(dead, auth.KeySet{{ID: "ed", Public: k.ed.Public()}}), Now: func() time.Time { return testNow }})
	if _, err := verify(t, v, token(t, `{"alg":"EdDSA","kid":"ed"}`, genuine, "EdDSA", k.ed)); err != nil {
		t.Errorf("a key that is there: got %v", err)
	}
	both := mustJWT(t, auth.JWTConfig{Keys: auth.JoinKeys(auth.Secret([]byte(testSecret)), dead), NoExpiry: true})
	want(t, both, "a token of the source that is there", signHS(t, map[string]any{"sub": "alice"}), "")
	want(t, both, "a token that may be of the other", token(t, `{"alg":"EdDSA","kid":"x"}`, genuine, "EdDSA", k.ed), auth.ReasonUnavailable)
	if _, err := verify(t, v, token(t, `{"alg":"EdDSA","kid":"x"}`, genuine, "EdDSA", k.ed)); reason(err) != auth.ReasonUnavailable {
		t.Errorf("a key that may be in the other: got %v, want unavailable", err)
	}
}

// TestKeysAreSilent: printing a key does not show it.
func TestKeysAreSilent(t *testing.T) {
	key := auth.Secret([]byte(testSecret))
	private, err := auth.ParsePrivateKey([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("%v %+v %#v %s ", key, key, key, key) + fmt.Sprintf("%v %+v %#v %s", private, private, private, private)
	if strings.Contains(said, "horse") || strings.Contains(said, "99 111 114") || strings.Contains(said, "636f72") {
		t.Errorf("got %s", said)
	}
}

// later advances the time in a synctest bubble and waits for the effects.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// TestKeyFile: a change takes effect within a second, and unreadable content changes nothing.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	_, a := pair(t, "EdDSA")
	_, b := pair(t, "EdDSA")
	a, b = change(t, a, "kid", "a"), change(t, b, "kid", "b")
	if _, err := auth.KeyFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no file: got %v", err)
	}
	write(t, path, "nonsense")
	if _, err := auth.KeyFile(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("nonsense: got %v", err)
	}
	write(t, path, a)
	synctest.Test(t, func(t *testing.T) {
		f, err := auth.KeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var faults []error
		f.OnError(func(err error) { faults = append(faults, err) })
		ids := func() string {
			keys, err := f.Keys(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var s string
			for _, k := range keys {
				s += k.ID
			}
			return s
		}
		want := func(when, want string, wantFaults int) {
			t.Helper()
			if got := ids(); got != want || len(faults) != wantFaults {
				t.Errorf("%s: got keys %q and %d errors, want %q and %d", when, got, len(faults), want, wantFaults)
			}
		}
		want("at the start", "a", 0)
		write(t, path, `{"keys":[`+a+`,`+b+`]}`)
		want("within the second", "a", 0)
		later(time.Second)
		want("after a second", "ab", 0)
		write(t, path, "nonsense")
		later(time.Second)
		want("with nonsense", "ab", 1)
		later(time.Second)
		want("with the same nonsense", "ab", 1)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		later(time.Second)
		want("without a file", "ab", 2)
		later(time.Second)
		want("without a file still", "ab", 2)
		write(t, path, b)
		later(time.Second)
		want("with a file again", "b", 2)
		if done, failed := f.Reloads(); done != 2 || failed != 2 {
			t.Errorf("got %d reloads and %d that failed, want 2 and 2", done, failed)
		}
	})
}

// TestKeyFileChanges: a file has changed if its inode, its modification time or its size has, and only then.
func TestKeyFileChanges(t *testing.T) {
	_, a := pair(t, "EdDSA")
	_, b := pair(t, "EdDSA")
	a, b = change(t, a, "kid", "a"), change(t, b, "kid", "b")
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		content string
		inPlace bool
		at      time.Time
		want    string
	}{
		{"nothing", a, true, at, "a"},
		{"the inode", b, false, at, "b"},
		{"the time", b, true, at.Add(time.Millisecond), "b"},
		{"the size", b + " ", true, at, "b"},
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		put := func(content string, inPlace bool, at time.Time) {
			t.Helper()
			if !inPlace {
				write(t, path, content)
			} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		put(a, true, at)
		synctest.Test(t, func(t *testing.T) {
			f, err := auth.KeyFile(path)
			if err != nil {
				t.Fatal(err)
			}
			put(tt.content, tt.inPlace, tt.at)
			later(time.Second)
			keys, err := f.Keys(t.Context(), "")
			if err != nil || len(keys) != 1 || keys[0].ID != tt.want {
				t.Errorf("%s: got %v, %v, want %s", tt.name, keys, err, tt.want)
			}
			if done, _ := f.Reloads(); (done == 1) != (tt.want == "b") {
				t.Errorf("%s: got %d reloads", tt.name, done)
			}
		})
	}
}

// TestSecretFile: the secret is the content of the file without the line end, for signing as well.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "short\n")
	if _, err := auth.SecretFile(path); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("a short secret: got %v", err)
	}
	_, public := pair(t, "ES256")
	for _, bad := range []string{public, `{"keys":[]}`, `{`, "-----BEGIN PUBLIC KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if set, err := auth.ParseSecret([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "auth: ") {
			t.Errorf("%s: got %v, %v", bad, set, err)
		}
	}
	jwk, _ := pair(t, "HS512")
	if set, err := auth.ParseSecret([]byte(jwk)); err != nil || len(set) != 1 || set[0].ID == "" {
		t.Errorf("a JWK: got %v, %v", set, err)
	}
	write(t, path, testSecret+"\r\n")
	f, err := auth.SecretFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.ParsePrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	for what, tok := range map[string]string{
		"the file": mustSign(t, key, map[string]any{"sub": "alice"}), "the text": signHS(t, map[string]any{"sub": "alice"}),
	} {
		if _, err := verify(t, mustJWT(t, auth.JWTConfig{Keys: f, NoExpiry: true}), tok); err != nil {
			t.Errorf("signed with %s: %v", what, err)
		}
	}
}

func mustSign(t testing.TB, key auth.SigningKey, claims map[string]any) string {
	t.Helper()
	tok, err := key.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestGenerateKey: a generated key signs, and only its public half verifies.
func TestGenerateKey(t *testing.T) {
	for _, alg := range []string{"HS256", "HS384", "HS512", "RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"} {
		t.Run(alg, func(t *testing.T) {
			private, public := pair(t, alg)
			key, err := auth.ParsePrivateKey([]byte(private))
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(alg, "Ed25519", "EdDSA", 1); !strings.HasPrefix(key.String(), want+" ") || key.ID() == "" {
				t.Errorf("got %v, want one for %s with a kid", key, want)
			}
			set := key.KeySet()
			if public != "" {
				if set, err = auth.ParseKeys([]byte(public)); err != nil {
					t.Fatal(err)
				}
				if _, err := auth.ParsePrivateKey([]byte(public)); err == nil {
					t.Error("the public half can sign")
				}
				for _, member := range []string{`"d"`, `"p"`, `"k"`} {
					if strings.Contains(public, member) {
						t.Errorf("the public half has %s", member)
					}
				}
			}
			tok := mustSign(t, key, map[string]any{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
			if id, err := verify(t, mustJWT(t, auth.JWTConfig{Keys: set}), tok); err != nil || id.User != "alice" {
				t.Errorf("got %v, %v", id, err)
			}
			_, other := pair(t, "ES256")
			others, err := auth.ParseKeys([]byte(other))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, mustJWT(t, auth.JWTConfig{Keys: others}), tok); reason(err) != auth.ReasonBadSignature {
				t.Errorf("with another key: got %v", err)
			}
		})
	}
	for _, alg := range []string{"", "none", "HS1"} {
		if _, _, err := auth.GenerateKey(alg); err == nil {
			t.Errorf("%q: got no error", alg)
		}
	}
	if _, err := (auth.SigningKey{}).Sign(nil); err == nil {
		t.Error("no key signs")
	}
}

// TestPrivatePEM: PEM files of all kinds can sign.
func TestPrivatePEM(t *testing.T) {
	k := testKeys()
	for name, in := range map[string]string{
		"RS256": block(t, "PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(k.rsa)),
		"ES384": block(t, "EC PRIVATE KEY")(x509.MarshalECPrivateKey(k.ec384)),
		"EdDSA": block(t, "PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(k.ed)),
	} {
		key, err := auth.ParsePrivateKey([]byte("text\n" + in))
		if err != nil || !strings.HasPrefix(key.String(), name+" ") {
			t.Errorf("%s: got %v, %v", name, key, err)
			continue
		}
		if _, err := verify(t, mustJWT(t, auth.JWTConfig{Keys: key.KeySet(), NoExpiry: true}), mustSign(t, key, map[string]any{"sub": "a"})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]string{
		"a public key":     block(t, "PUBLIC KEY")(x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)),
		"a short secret":   "short",
		"an encrypted key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"nonsense":         `{"kty":"EC"}`,
	} {
		if _, err := auth.ParsePrivateKey([]byte(in)); err == nil || bytes.Contains([]byte(err.Error()), []byte("MII")) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
