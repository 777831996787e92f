package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// SigningKey is a private key or a secret that signs tokens. Printing it does not show it.
type SigningKey struct {
	alg string
	id  string
	key any // crypto.Signer or []byte
}

// GenerateKey makes a key for an algorithm and returns it as two JWKs in JSON. The kid is the thumbprint of the key
// (RFC 7638). A secret has a random kid and no public half.
func GenerateKey(alg string) (private, public []byte, err error) {
	var key any
	switch alg {
	case "HS256", "HS384", "HS512":
		secret := make([]byte, minSecret+16*slices.Index(secretAlgorithms, alg))
		_, _ = rand.Read(secret) // never fails
		key = secret
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
		alg = "EdDSA" // more libraries know this name
	default:
		return nil, nil, fmt.Errorf("auth: algorithm %q: want one of %v", alg, slices.Sorted(maps.Keys(methods)))
	}
	if err == nil {
		private, public, err = marshalPair(key, alg)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("auth: cannot make a key: %w", err)
	}
	return private, public, nil
}

// marshalPair encodes a key and, if it has one, its public half.
func marshalPair(key any, alg string) (private, public []byte, err error) {
	pub, asymmetric := key, false
	if s, ok := key.(crypto.Signer); ok {
		pub, asymmetric = s.Public(), true
	}
	id := rand.Text()[:16]
	if asymmetric {
		if id, err = thumbprint(pub); err != nil {
			return nil, nil, err
		}
		if public, err = marshalJWK(pub, alg, id); err != nil {
			return nil, nil, err
		}
	}
	private, err = marshalJWK(key, alg, id)
	return private, public, err
}

func marshalJWK(key any, alg, id string) ([]byte, error) {
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
		Marshal:  jwkset.JWKMarshalOptions{Private: true},
		Metadata: jwkset.JWKMetadataOptions{ALG: jwkset.ALG(alg), KID: id, USE: jwkset.UseSig},
	})
	if err != nil {
		return nil, err
	}
	m := jwk.Marshal()
	m.ALG = jwkset.ALG(alg)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// thumbprint returns the thumbprint of a public key. RFC 7638 §3.
func thumbprint(public any) (string, error) {
	jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{})
	if err != nil {
		return "", err
	}
	m := jwk.Marshal()
	members := map[string]string{"kty": string(m.KTY)}
	for name, value := range map[string]string{"crv": string(m.CRV), "x": m.X, "y": m.Y, "e": m.E, "n": m.N} {
		if value != "" {
			members[name] = value
		}
	}
	b, err := json.Marshal(members) // sorts the names, as §3.3 requires
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// ParsePrivateKey parses a signing key: a JWK, the first key of a JWK set that can sign, a PEM file with a PRIVATE KEY,
// or else a secret of at least 32 bytes without the line ends after it.
func ParsePrivateKey(b []byte) (SigningKey, error) {
	trimmed := bytes.TrimSpace(b)
	if !bytes.HasPrefix(trimmed, []byte("{")) && !bytes.Contains(trimmed, []byte("-----BEGIN ")) {
		set, err := ParseSecret(b)
		if err != nil {
			return SigningKey{}, err
		}
		return SigningKey{alg: "HS256", key: set[0].Public}, nil
	}
	keys, err := parseKeyFile(b)
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: private key: %w", err)
	}
	for _, k := range keys {
		if _, isSecret := k.key.([]byte); !isSecret {
			if _, ok := k.key.(crypto.Signer); !ok {
				continue
			}
		}
		algorithms := k.public().algorithms()
		if len(algorithms) == 0 {
			return SigningKey{}, fmt.Errorf("auth: private key: %w", KeySet{k.public()}.check())
		}
		return SigningKey{alg: algorithms[0], id: k.id, key: k.key}, nil
	}
	return SigningKey{}, errors.New("auth: private key: there are only public keys")
}

// ID returns the kid of the key, or "".
func (k SigningKey) ID() string { return k.id }

// KeySet returns the set that verifies the key's signatures.
func (k SigningKey) KeySet() KeySet { return KeySet{rawKey{k.id, k.alg, k.key}.public()} }

// String returns the algorithm and the kid. The algorithm is that of the key's JWK, or else the first that the key is
// suitable for.
func (k SigningKey) String() string { return fmt.Sprintf("%s key %q", k.alg, k.id) }

// GoString returns the same as String, for %#v.
func (k SigningKey) GoString() string { return k.String() }

// Sign returns a token with the given claims. It checks none of them and adds none: set iat and exp as needed. The zero
// SigningKey fails.
func (k SigningKey) Sign(claims map[string]any) (string, error) {
	method := methods[k.alg]
	if method == nil {
		return "", errors.New("auth: no key to sign with")
	}
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if k.id != "" {
		token.Header["kid"] = k.id
	}
	signed, err := token.SignedString(k.key)
	if err != nil {
		return "", fmt.Errorf("auth: cannot sign: %w", err)
	}
	return signed, nil
}
