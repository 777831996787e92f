package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

// maxKeyFile is the maximum size of a key file in bytes.
const maxKeyFile = 1 << 20

// ParseKeys parses PEM blocks (PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE, and the kinds of PRIVATE KEY, of which it takes
// the public half), a JWK set, or a single JWK. Secrets (kty oct) are included. A key that cannot be used is an error.
func ParseKeys(b []byte) (KeySet, error) {
	found, err := parseKeyFile(b)
	if err != nil {
		return nil, fmt.Errorf("auth: keys: %w", err)
	}
	set := make(KeySet, 0, len(found))
	for _, k := range found {
		set = append(set, k.public())
	}
	if err := set.check(); err != nil {
		return nil, fmt.Errorf("auth: keys: %w", err)
	}
	return set, nil
}

// rawKey is a key as it is in a file, private or public.
type rawKey struct {
	id  string
	alg string // empty means all that its type is suitable for
	key any
}

// public returns the half that signatures are checked with.
func (k rawKey) public() Key {
	pub := Key{ID: k.id, Public: k.key}
	if s, ok := k.key.(crypto.Signer); ok {
		pub.Public = s.Public()
	}
	switch {
	case slices.Contains(ed25519Algorithms, k.alg):
		pub.Algorithms = ed25519Algorithms
	case k.alg != "":
		pub.Algorithms = []string{k.alg}
	}
	return pub
}

// parseKeyFile parses PEM or JSON.
func parseKeyFile(b []byte) ([]rawKey, error) {
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	b = bytes.TrimSpace(b)
	switch {
	case bytes.HasPrefix(b, []byte("{")):
		return parseJWKs(b)
	case bytes.Contains(b, []byte("-----BEGIN ")):
		return parsePEM(b)
	default:
		return nil, errors.New("neither PEM nor a JWK set")
	}
}

func parsePEM(b []byte) ([]rawKey, error) {
	var list []rawKey
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		b = rest
		switch {
		case block.Type == "EC PARAMETERS": // openssl writes them before the key, which repeats them
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("the private key is encrypted: decrypt it first")
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, errors.New("a certificate that is malformed")
			}
			list = append(list, rawKey{key: cert.PublicKey})
			continue
		}
		key, err := jwkset.LoadX509KeyInfer(block)
		if err != nil {
			return nil, fmt.Errorf("a PEM block %q that is malformed", block.Type)
		}
		list = append(list, rawKey{key: key})
	}
	if len(list) == 0 {
		return nil, errors.New("no PEM block with a key")
	}
	return list, nil
}

// parseJWKs parses a set or a single key.
func parseJWKs(b []byte) ([]rawKey, error) {
	raw, err := splitJWKs(b)
	if err != nil {
		return nil, err
	}
	var list []rawKey
	for i, r := range raw {
		k, err := parseJWK(r, true)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(raw), err)
		}
		list = append(list, k)
	}
	return list, nil
}

// splitJWKs returns the keys of a set. A single key is a set of one.
func splitJWKs(b []byte) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Kty  string            `json:"kty"`
	}
	switch err := json.Unmarshal(b, &set); {
	case err != nil:
		return nil, errors.New("not the JSON of a JWK set")
	case set.Keys == nil && set.Kty == "":
		return nil, errors.New("JSON that is neither a JWK set nor a JWK")
	case set.Keys == nil:
		return []json.RawMessage{b}, nil
	case len(set.Keys) > maxKeys:
		return nil, fmt.Errorf("%d keys: the limit is %d", len(set.Keys), maxKeys)
	}
	return set.Keys, nil
}

// parseJWK parses a key. Without private, it returns only the public half, and no secrets. RFC 7517 §4.
func parseJWK(raw json.RawMessage, private bool) (rawKey, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return rawKey{}, errors.New("not the JSON of a JWK")
	}
	switch {
	case m.USE != "" && m.USE != jwkset.UseSig:
		return rawKey{}, errors.New("not a key for signatures (use)")
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) &&
		!slices.Contains(m.KEYOPS, jwkset.KeyOpsSign):
		return rawKey{}, errors.New("not a key for signatures (key_ops)")
	case len(m.OTH) > 0:
		return rawKey{}, errors.New("an RSA key of more than two primes")
	case m.ALG != "" && methods[string(m.ALG)] == nil:
		return rawKey{}, errors.New("a key for an algorithm that does not sign or is not supported")
	}
	// The certificates of a key prove nothing here, and the library might fetch x5u.
	m.X5C, m.X5U, m.X5T, m.X5TS256, m.KEYOPS = nil, "", "", "", nil
	if !private {
		m.D, m.K = "", ""
	}
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: private}, jwkset.JWKValidateOptions{})
	if err != nil {
		return rawKey{}, fmt.Errorf("a JWK of kty %.8q that is not valid", strings.ToValidUTF8(string(m.KTY), ""))
	}
	k := rawKey{id: m.KID, alg: string(m.ALG), key: jwk.Key()}
	if e, ok := k.key.(ed25519.PrivateKey); ok && !ed25519.NewKeyFromSeed(e.Seed()).Equal(e) {
		return rawKey{}, errors.New("an Ed25519 key whose halves do not match")
	}
	return k, nil
}
