package auth_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/expedite-go/expedite/auth"
)

// attack is a token that must not be accepted.
type attack struct {
	name  string
	token string
	want  auth.Reason
}

// TestAttacks: each token is refused, for its own reason, by an error that does not contain it.
func TestAttacks(t *testing.T) {
	k := testKeys()
	v := k.verifier(t)
	var fetched atomic.Int64
	forger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer forger.Close()

	if _, err := verify(t, v, token(t, `{"alg":"RS256","kid":"rsa"}`, genuine, "RS256", k.rsa)); err != nil {
		t.Fatalf("the genuine token, of which the others are forged: %v", err)
	}
	seen := make(map[string]bool)
	for _, attacks := range [][]attack{
		unsigned(t, k), confused(t, k), signatures(t, k), keyIDs(t, k), headers(t, k, forger.URL), forms(t, k), claims(t, k),
	} {
		for _, a := range attacks {
			if seen[a.name] {
				t.Errorf("%s: the name is there twice", a.name)
			}
			seen[a.name] = true
			t.Run(a.name, func(t *testing.T) {
				id, err := verify(t, v, a.token)
				if got := reason(err); got != a.want || id != nil {
					t.Errorf("got %q (%v, %v), want %q", got, id, err, a.want)
				}
				wantSilent(t, err, a.token)
			})
		}
	}
	if n := fetched.Load(); n > 0 {
		t.Errorf("the forger's server was asked %d times, want never", n)
	}
}

func unsigned(t *testing.T, k keys) []attack {
	valid := token(t, `{"alg":"RS256","kid":"rsa"}`, genuine, "RS256", k.rsa)
	parts := strings.Split(valid, ".")
	none := func(alg string) string { return b64(`{"alg":"`+alg+`"}`) + "." + b64(genuine) + "." }
	return []attack{
		{"alg none", none("none"), auth.ReasonBadSignature},
		{"alg none in other letters", none("nOnE"), auth.ReasonBadSignature},
		{"alg none with a signature behind it", none("none") + parts[2], auth.ReasonBadSignature},
		{"alg none with the kid of a key", b64(`{"alg":"none","kid":"rsa"}`) + "." + b64(genuine) + ".", auth.ReasonBadSignature},
		{"alg empty", none("") + parts[2], auth.ReasonBadSignature},
		{"alg missing", b64(`{"typ":"JWT"}`) + "." + b64(genuine) + "." + parts[2], auth.ReasonMalformed},
		{"alg is a list", b64(`{"alg":["RS256"]}`) + "." + b64(genuine) + "." + parts[2], auth.ReasonMalformed},
		{"alg under a name in capitals", b64(`{"ALG":"RS256"}`) + "." + b64(genuine) + "." + parts[2], auth.ReasonMalformed},
		{"alg unknown", none("XS256") + parts[2], auth.ReasonBadSignature},
		{"alg of an encryption", none("dir") + parts[2], auth.ReasonBadSignature},
		{"signature stripped", parts[0] + "." + parts[1] + ".", auth.ReasonBadSignature},
		{"signature stripped with its dot", parts[0] + "." + parts[1], auth.ReasonMalformed},
	}
}

// confused returns tokens that use a key for another algorithm.
func confused(t *testing.T, k keys) []attack {
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	const hs = `{"alg":"HS256","kid":"rsa"}`
	return []attack{
		{"HS256 with the RSA public key's PEM as the secret", token(t, hs, genuine, "HS256", block), auth.ReasonBadSignature},
		{"HS256 with the PEM without its last line end", token(t, hs, genuine, "HS256", block[:len(block)-1]), auth.ReasonBadSignature},
		{"HS256 with the RSA public key's DER as the secret", token(t, hs, genuine, "HS256", der), auth.ReasonBadSignature},
		{"HS256 with the RSA modulus as the secret", token(t, hs, genuine, "HS256", k.rsa.N.Bytes()), auth.ReasonBadSignature},
		{"HS256 with the PEM and no kid", token(t, `{"alg":"HS256"}`, genuine, "HS256", block), auth.ReasonBadSignature},
		{"HS256 with the Ed25519 public key as the secret", token(t, `{"alg":"HS256","kid":"ed"}`, genuine, "HS256", []byte(k.ed.Public().(ed25519.PublicKey))), auth.ReasonBadSignature},
		{"HS256 with an empty secret", token(t, `{"alg":"HS256"}`, genuine, "HS256", []byte{}), auth.ReasonBadSignature},
		{"RS256 signature under the name of PS256", token(t, `{"alg":"PS256","kid":"rsa"}`, genuine, "RS256", k.rsa), auth.ReasonBadSignature},
		{"PS256 signature under the name of RS256", token(t, `{"alg":"RS256","kid":"rsa"}`, genuine, "PS256", k.rsa), auth.ReasonBadSignature},
		{"PS256 with a key that is for RS256 only", token(t, `{"alg":"PS256","kid":"rs256-only"}`, genuine, "PS256", k.otherRSA), auth.ReasonBadSignature},
		{"RS512 with a key that is for RS256 only", token(t, `{"alg":"RS512","kid":"rs256-only"}`, genuine, "RS512", k.otherRSA), auth.ReasonBadSignature},
		{"ES384 with a key on P-256", es384WithP256(t, k), auth.ReasonBadSignature},
		{"EdDSA with an ECDSA key's kid", token(t, `{"alg":"EdDSA","kid":"ec"}`, genuine, "EdDSA", k.ed), auth.ReasonBadSignature},
	}
}

// es384WithP256 is signed with SHA-384 and a key that is for SHA-256.
func es384WithP256(t *testing.T, k keys) string {
	t.Helper()
	m := *jwt.SigningMethodES384
	m.CurveBits = 256
	signed := b64(`{"alg":"ES384","kid":"ec"}`) + "." + b64(genuine)
	sig, err := m.Sign(signed, k.ec)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

func signatures(t *testing.T, k keys) []attack {
	rs := `{"alg":"RS256","kid":"rsa"}`
	valid := token(t, rs, genuine, "RS256", k.rsa)
	parts := strings.Split(valid, ".")
	admin := strings.Replace(genuine, "alice", "admin", 1)
	es := b64(`{"alg":"ES256","kid":"ec"}`) + "." + b64(genuine)
	sig := signature(t, es, "ES256", k.ec)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
	if err != nil {
		t.Fatal(err)
	}
	order := elliptic.P256().Params().N.Bytes()
	return []attack{
		{"claims changed", parts[0] + "." + b64(admin) + "." + parts[2], auth.ReasonBadSignature},
		{"header changed", b64(`{"kid":"rsa","alg":"RS256"}`) + "." + parts[1] + "." + parts[2], auth.ReasonBadSignature},
		{"signature of another token", parts[0] + "." + b64(admin) + "." + strings.Split(token(t, rs, genuine+" ", "RS256", k.rsa), ".")[2], auth.ReasonBadSignature},
		{"signature cut off", es + "." + b64(sig[:63]), auth.ReasonBadSignature},
		{"signature with bytes behind it", parts[0] + "." + parts[1] + "." + b64(string(signature(t, parts[0]+"."+parts[1], "RS256", k.rsa))+"xyz"), auth.ReasonBadSignature},
		{"signature of a stranger's key", token(t, rs, genuine, "RS256", k.otherRSA), auth.ReasonBadSignature},
		{"ES256 signature of zeros (CVE-2022-21449)", es + "." + b64(make([]byte, 64)), auth.ReasonBadSignature},
		{"ES256 signature of the curve's order", es + "." + b64(append(append([]byte{}, order...), order...)), auth.ReasonBadSignature},
		{"ES256 signature in DER", es + "." + b64(der), auth.ReasonBadSignature},
		{"ES256 signature without s", es + "." + b64(sig[:32]), auth.ReasonBadSignature},
		{"EdDSA signature of zeros", b64(`{"alg":"EdDSA","kid":"ed"}`) + "." + b64(genuine) + "." + b64(make([]byte, 64)), auth.ReasonBadSignature},
		{"EdDSA signature with s beyond the order", edBeyondOrder(t, k), auth.ReasonBadSignature},
		{"EdDSA signature of a stranger's key", token(t, `{"alg":"EdDSA","kid":"ed"}`, genuine, "EdDSA", k.otherEd), auth.ReasonBadSignature},
	}
}

// edBeyondOrder is a second form of a valid signature. RFC 8032 §5.1.7 forbids it.
func edBeyondOrder(t *testing.T, k keys) string {
	t.Helper()
	signed := b64(`{"alg":"EdDSA","kid":"ed"}`) + "." + b64(genuine)
	sig := signature(t, signed, "EdDSA", k.ed)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := make([]byte, 32)
	for i := range s {
		s[i] = sig[63-i]
	}
	new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(s)
	for i := range s {
		sig[63-i] = s[i]
	}
	return signed + "." + b64(sig)
}

func keyIDs(t *testing.T, k keys) []attack {
	empty := func(kid string) string { // as if the kid led to an empty file, or to a secret of the forger's choice
		b, _ := json.Marshal(kid)
		return token(t, `{"alg":"HS256","kid":`+string(b)+`}`, genuine, "HS256", []byte{})
	}
	return []attack{
		{"kid of one key, signature of another", token(t, `{"alg":"RS256","kid":"rs256-only"}`, genuine, "RS256", k.rsa), auth.ReasonBadSignature},
		{"kid unknown", token(t, `{"alg":"RS256","kid":"none such"}`, genuine, "RS256", k.rsa), auth.ReasonBadSignature},
		{"kid in other letters", token(t, `{"alg":"RS256","kid":"RSA"}`, genuine, "RS256", k.rsa), auth.ReasonBadSignature},
		{"kid that leads to /dev/null", empty("../../../../dev/null"), auth.ReasonBadSignature},
		{"kid with SQL", empty("x' UNION SELECT 'secret' --"), auth.ReasonBadSignature},
		{"kid with a command", empty("key.pem; touch /tmp/owned"), auth.ReasonBadSignature},
		{"kid with a zero byte", empty("rsa\x00"), auth.ReasonBadSignature},
		{"kid that is a number", token(t, `{"alg":"RS256","kid":7}`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"kid that is null", token(t, `{"alg":"RS256","kid":null}`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"kid of a kilobyte", empty(strings.Repeat("k", 1024)), auth.ReasonMalformed},
	}
}

// headers returns tokens that bring the forger's own key or require unknown extensions.
func headers(t *testing.T, k keys, forger string) []attack {
	jwk, err := json.Marshal(map[string]string{
		"kty": "OKP", "crv": "Ed25519", "x": b64(k.otherEd.Public().(ed25519.PublicKey)),
	})
	if err != nil {
		t.Fatal(err)
	}
	forged := func(header string) string { return token(t, header, genuine, "EdDSA", k.otherEd) }
	rs := func(more string) string {
		return token(t, `{"alg":"RS256","kid":"rsa",`+more+`}`, genuine, "RS256", k.rsa)
	}
	return []attack{
		{"jku that leads to the forger", forged(`{"alg":"EdDSA","kid":"mine","jku":"` + forger + `/jwks"}`), auth.ReasonBadSignature},
		{"x5u that leads to the forger", forged(`{"alg":"EdDSA","x5u":"` + forger + `/cert"}`), auth.ReasonBadSignature},
		{"jwk that is the forger's", forged(`{"alg":"EdDSA","jwk":` + string(jwk) + `}`), auth.ReasonBadSignature},
		{"jwk that is the forger's, under a known kid", forged(`{"alg":"EdDSA","kid":"ed","jwk":` + string(jwk) + `}`), auth.ReasonBadSignature},
		{"x5c that is the forger's", forged(`{"alg":"EdDSA","x5c":["` + base64.StdEncoding.EncodeToString(certificate(t, k)) + `"]}`), auth.ReasonBadSignature},
		{"crit with an extension that is not known", rs(`"crit":["http://example.com/rule"],"http://example.com/rule":true`), auth.ReasonMalformed},
		{"crit with b64", rs(`"crit":["b64"],"b64":false`), auth.ReasonMalformed},
		{"crit that is empty", rs(`"crit":[]`), auth.ReasonMalformed},
		{"typ of a logout token", rs(`"typ":"logout+jwt"`), auth.ReasonMalformed},
		{"typ of a proof of possession", rs(`"typ":"dpop+jwt"`), auth.ReasonMalformed},
		{"typ that is no text", rs(`"typ":1`), auth.ReasonMalformed},
		{"alg twice, the last is good", token(t, `{"alg":"none","alg":"RS256","kid":"rsa"}`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"kid twice", token(t, `{"alg":"RS256","kid":"x","kid":"rsa"}`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"header that is a list", token(t, `["RS256"]`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"header with text behind it", token(t, `{"alg":"RS256","kid":"rsa"} x`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"header that is nested deeply", token(t, `{"alg":"RS256","kid":"rsa","x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`, genuine, "RS256", k.rsa), auth.ReasonMalformed},
	}
}

// forms returns other ways to write a valid token.
func forms(t *testing.T, k keys) []attack {
	rs := `{"alg":"RS256","kid":"rsa"}`
	valid := token(t, rs, genuine, "RS256", k.rsa)
	parts := strings.Split(valid, ".")
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", valid[len(valid)-1])
	other := valid[:len(valid)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last+1]) // the same bytes, other spare bits
	return []attack{
		{"nothing", "", auth.ReasonMalformed},
		{"dots only", "..", auth.ReasonMalformed},
		{"one part", "opaque", auth.ReasonMalformed},
		{"four parts", valid + ".x", auth.ReasonMalformed},
		{"five parts: a JWE", valid + ".x.y", auth.ReasonMalformed},
		{"a thousand parts", strings.Repeat(".", 999), auth.ReasonMalformed},
		{"space in front", " " + valid, auth.ReasonMalformed},
		{"space behind", valid + " ", auth.ReasonMalformed},
		{"line end behind", valid + "\n", auth.ReasonMalformed},
		{"line end within the signature", valid[:len(valid)-8] + "\n" + valid[len(valid)-8:], auth.ReasonMalformed},
		{"line end within the claims", parts[0] + "." + parts[1][:8] + "\r\n" + parts[1][8:] + "." + parts[2], auth.ReasonMalformed},
		{"padding", valid + "==", auth.ReasonMalformed},
		{"the other alphabet of base64", strings.NewReplacer("-", "+", "_", "/").Replace(valid) + "+", auth.ReasonMalformed},
		{"spare bits of base64", other, auth.ReasonMalformed},
		{"another scheme in front", "Bearer " + valid, auth.ReasonMalformed},
		{"longer than anything", valid + strings.Repeat("A", 70_000), auth.ReasonMalformed},
		{"JSON serialization", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, auth.ReasonMalformed},
		{"claims that are no JSON", token(t, rs, "alice", "RS256", k.rsa), auth.ReasonMalformed},
		{"claims that are a list", token(t, rs, "["+genuine+"]", "RS256", k.rsa), auth.ReasonMalformed},
		{"claims with text behind them", token(t, rs, genuine+genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"claims with a byte order mark", token(t, rs, "\ufeff"+genuine, "RS256", k.rsa), auth.ReasonMalformed},
		{"claims that are no UTF-8", token(t, rs, strings.Replace(genuine, "alice", "al\xffice", 1), "RS256", k.rsa), auth.ReasonMalformed},
		{"claims with a comma too many", token(t, rs, strings.Replace(genuine, "}", ",}", 1), "RS256", k.rsa), auth.ReasonMalformed},
		{"claims that are nested deeply", token(t, rs, strings.Replace(genuine, "{", `{"x":`+strings.Repeat(`{"x":`, 40)+"1"+strings.Repeat("}", 40)+",", 1), "RS256", k.rsa), auth.ReasonMalformed},
	}
}

// claims returns tokens with a valid signature and claims that are not accepted.
func claims(t *testing.T, k keys) []attack {
	// with replaces old, which is a part of the valid claims.
	with := func(old, new string) string {
		if !strings.Contains(genuine, old) {
			t.Fatalf("%q is no part of the claims", old)
		}
		return token(t, `{"alg":"RS256","kid":"rsa"}`, strings.Replace(genuine, old, new, 1), "RS256", k.rsa)
	}
	const exp, sub, aud, iss = `"exp":1780315260`, `"sub":"alice"`, `"aud":"expedite"`, `"iss":"https://issuer.test"`
	return []attack{
		{"exp in the past", with(exp, `"exp":1780315194`), auth.ReasonExpired}, // 6 s
		{"exp at the end of the leeway", with(exp, `"exp":1780315195`), auth.ReasonExpired},
		{"exp zero", with(exp, `"exp":0`), auth.ReasonExpired},
		{"exp missing", with(exp+",", ``), auth.ReasonMalformed},
		{"exp that is text", with(exp, `"exp":"1780315260"`), auth.ReasonMalformed},
		{"exp that is null", with(exp, `"exp":null`), auth.ReasonMalformed},
		{"exp that is true", with(exp, `"exp":true`), auth.ReasonMalformed},
		{"exp that is negative", with(exp, `"exp":-1`), auth.ReasonMalformed},
		{"exp that overflows a time", with(exp, `"exp":1e300`), auth.ReasonMalformed},
		{"exp that overflows an integer", with(exp, `"exp":9223372036854775808`), auth.ReasonMalformed},
		{"exp that overflows a float", with(exp, `"exp":1e999`), auth.ReasonMalformed},
		{"exp twice", with(exp, exp+`,"exp":9999999999`), auth.ReasonMalformed},
		{"nbf in the future", with(exp, exp+`,"nbf":1780315206`), auth.ReasonNotYetValid}, // 6 s
		{"nbf that is text", with(exp, exp+`,"nbf":"0"`), auth.ReasonMalformed},
		{"nbf that is negative", with(exp, exp+`,"nbf":-1e300`), auth.ReasonMalformed},
		{"iat that is text", with(exp, exp+`,"iat":"now"`), auth.ReasonMalformed},
		{"sub empty", with(sub, `"sub":""`), auth.ReasonMalformed},
		{"sub missing", with(sub+",", ``), auth.ReasonMalformed},
		{"sub that is a number", with(sub, `"sub":1`), auth.ReasonMalformed},
		{"sub that is a list", with(sub, `"sub":["alice"]`), auth.ReasonMalformed},
		{"sub twice", with(sub, sub+`,"sub":"admin"`), auth.ReasonMalformed},
		{"sub twice, once in disguise", with(sub, sub+`,"s\u0075b":"admin"`), auth.ReasonMalformed},
		{"sub under a name in capitals", with(sub, `"SUB":"alice"`), auth.ReasonMalformed},
		{"sub with a zero byte", with(sub, `"sub":"alice\u0000"`), auth.ReasonMalformed},
		{"sub with a line end", with(sub, `"sub":"alice\nadmin"`), auth.ReasonMalformed},
		{"sub with half a surrogate pair", with(sub, `"sub":"alice\ud800"`), auth.ReasonMalformed},
		{"sub that is too long", with(sub, `"sub":"`+strings.Repeat("a", 257)+`"`), auth.ReasonMalformed},
		{"aud of somebody else", with(aud, `"aud":"billing"`), auth.ReasonWrongAudience},
		{"aud missing", with(aud+",", ``), auth.ReasonWrongAudience},
		{"aud that begins like ours", with(aud, `"aud":"expedite.example"`), auth.ReasonWrongAudience},
		{"aud in other letters", with(aud, `"aud":"Expedite"`), auth.ReasonWrongAudience},
		{"aud that is a list without us", with(aud, `"aud":["a","b"]`), auth.ReasonWrongAudience},
		{"aud that is an empty list", with(aud, `"aud":[]`), auth.ReasonWrongAudience},
		{"aud that is a list with more than text", with(aud, `"aud":["expedite",1]`), auth.ReasonMalformed},
		{"aud that is an object", with(aud, `"aud":{"expedite":true}`), auth.ReasonMalformed},
		{"iss of somebody else", with(iss, `"iss":"https://issuer.evil"`), auth.ReasonWrongIssuer},
		{"iss with a slash more", with(iss, `"iss":"https://issuer.test/"`), auth.ReasonWrongIssuer},
		{"iss missing", with(iss+",", ``), auth.ReasonWrongIssuer},
		{"iss that is a list", with(iss, `"iss":["https://issuer.test"]`), auth.ReasonMalformed},
		{"scope that is a number", with(exp, exp+`,"scope":1`), auth.ReasonMalformed},
		{"scope of a thousand", with(exp, exp+`,"scope":"`+strings.Repeat("a ", 1000)+`"`), auth.ReasonMalformed},
	}
}

// TestIssuersAreBound: a token of one issuer is not accepted with the key of another.
func TestIssuersAreBound(t *testing.T) {
	k := testKeys()
	const a, b = "https://a.test", "https://b.test"
	cfg := auth.JWTConfig{NoExpiry: true}
	v, err := auth.NewIssuers(cfg, map[string]auth.KeySource{
		a: auth.KeySet{{ID: "1", Public: k.ed.Public()}},
		b: auth.KeySet{{ID: "1", Public: k.otherEd.Public()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, iss string
		key       any
		want      auth.Reason
	}{
		{"issuer a with key a", a, k.ed, ""},
		{"issuer b with key b", b, k.otherEd, ""},
		{"issuer a with key b", a, k.otherEd, auth.ReasonBadSignature},
		{"issuer b with key a", b, k.ed, auth.ReasonBadSignature},
		{"issuer c with key a", "https://c.test", k.ed, auth.ReasonWrongIssuer},
	} {
		tok := token(t, `{"alg":"EdDSA","kid":"1"}`, `{"sub":"alice","iss":"`+tt.iss+`"}`, "EdDSA", tt.key)
		id, err := verify(t, v, tok)
		if got := reason(err); got != tt.want || (err == nil && (id.Issuer != tt.iss || id.User != "alice")) {
			t.Errorf("%s: got %q, %+v, want %q", tt.name, got, id, tt.want)
		}
	}
}

// TestRewrittenSignature: anyone can rewrite a token with an ECDSA signature, but the token id stays the same.
func TestRewrittenSignature(t *testing.T) {
	k := testKeys()
	claims := strings.Replace(genuine, `,"jti":"token-1"`, "", 1)
	signed := b64(`{"alg":"ES256","kid":"ec"}`) + "." + b64(claims)
	sig := signature(t, signed, "ES256", k.ec)
	first := signed + "." + b64(sig)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	second := signed + "." + b64(sig)
	v := k.verifier(t)
	one, err := verify(t, v, first)
	if err != nil {
		t.Fatal(err)
	}
	two, err := verify(t, v, second)
	if err != nil {
		return // the library refuses the other form of a signature: there is only one token
	}
	if first == second || one.TokenID != two.TokenID || len(one.TokenID) != 32 {
		t.Errorf("token ids: got %q and %q, want one of 32 digits", one.TokenID, two.TokenID)
	}
}

// certificate returns one that the forger has made for a key of their own.
func certificate(t *testing.T, k keys) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: testNow.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.otherEd.Public(), k.otherEd)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
