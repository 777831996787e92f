package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Limits of keys.
const (
	// minSecret is the minimum length of a secret in bytes. RFC 7518 §3.2 requires the length of the hash: 32 for
	// HS256, 48 for HS384 and 64 for HS512.
	minSecret = 32
	// maxKeys is the maximum number of keys in a set.
	maxKeys    = 64
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // beyond that, a check takes milliseconds
)

// Key is a key that signatures are checked with.
type Key struct {
	// ID is the kid of the key, or empty.
	ID string
	// Algorithms restricts the algorithms that the key may be used with. nil means all that its type is suitable for.
	// Other algorithms are never used.
	Algorithms []string
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey, an ed25519.PublicKey, or a secret as []byte.
	Public any
}

// String returns the ID and the algorithms, never the key.
func (k Key) String() string { return fmt.Sprintf("key %q for %v", k.ID, k.algorithms()) }

// GoString returns the same as String, for %#v.
func (k Key) GoString() string { return k.String() }

// KeySource provides the keys for a token. Keys returns those with the ID kid; if there are none, those without an ID;
// and all of them if kid is empty. An error means that the source cannot tell; if it has no such key, it returns none
// and no error. Keys may block until ctx ends, must be safe for concurrent use, and nobody may change the slice that it
// returned.
type KeySource interface {
	Keys(ctx context.Context, kid string) ([]Key, error)
}

// KeySet is a fixed list of keys. With several keys, rotation can overlap.
type KeySet []Key

// Keys implements KeySource. It never fails.
func (s KeySet) Keys(_ context.Context, kid string) ([]Key, error) { return s.find(kid), nil }

func (s KeySet) find(kid string) []Key {
	if kid == "" {
		return s
	}
	if found := s.called(kid); found != nil {
		return found
	}
	return s.called("")
}

// called returns the keys with this ID.
func (s KeySet) called(id string) []Key {
	var found []Key
	for _, k := range s {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

// check reports what is wrong with configured keys.
func (s KeySet) check() error {
	if len(s) == 0 {
		return errors.New("no key")
	}
	if len(s) > maxKeys {
		return fmt.Errorf("%d keys: the limit is %d", len(s), maxKeys)
	}
	for _, k := range s {
		if err := checkPublic(k.Public); err != nil {
			return err
		}
		if len(k.algorithms()) == 0 {
			return fmt.Errorf("a key is restricted to %v, which its type does not support", k.Algorithms)
		}
	}
	return nil
}

// Secret returns a set with one secret, a copy of b: for HS256 if it has at least 32 bytes, HS384 from 48 and HS512
// from 64 bytes. NewJWT refuses a shorter secret.
func Secret(b []byte) KeySet { return KeySet{{Public: bytes.Clone(b)}} }

// JoinKeys joins several sources: a token may be signed by a key of any of them. The error of a source matters only if
// no key of the others fits.
func JoinKeys(sources ...KeySource) KeySource { return joined(sources) }

type joined []KeySource

// Keys returns the keys of all sources, and their errors joined.
func (j joined) Keys(ctx context.Context, kid string) ([]Key, error) {
	var all []Key
	var errs []error
	for _, s := range j {
		keys, err := s.Keys(ctx, kid)
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, keys...)
	}
	return all, errors.Join(errs...)
}

// renew implements renewer.
func (j joined) renew(ctx context.Context, since time.Time) bool {
	any := false
	for _, s := range j {
		any = renewed(ctx, s, since) || any
	}
	return any
}

// check checks each source that can be checked.
func (j joined) check() error {
	if len(j) == 0 {
		return errors.New("without keys: none are joined")
	}
	for _, s := range j {
		if err := checkSource(s); err != nil {
			return err
		}
	}
	return nil
}

// checkSource reports whether s is nil, and what is wrong with its fixed keys.
func checkSource(s KeySource) error {
	if isNil(s) {
		return fmt.Errorf("without keys: a nil KeySource of type %T", s)
	}
	if c, ok := s.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// methods maps the names of the algorithms to their implementations. "none" is not among them. RFC 7518 §3.1, RFC 8037
// §3.1, RFC 9864 §2.2.
var methods = map[string]jwt.SigningMethod{
	"HS256": jwt.SigningMethodHS256, "HS384": jwt.SigningMethodHS384, "HS512": jwt.SigningMethodHS512,
	"RS256": jwt.SigningMethodRS256, "RS384": jwt.SigningMethodRS384, "RS512": jwt.SigningMethodRS512,
	"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512,
	"ES256": jwt.SigningMethodES256, "ES384": jwt.SigningMethodES384, "ES512": jwt.SigningMethodES512,
	"EdDSA": jwt.SigningMethodEdDSA, "Ed25519": jwt.SigningMethodEdDSA,
}

// The algorithms that each type of key is suitable for.
var (
	secretAlgorithms  = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	p256Algorithms    = []string{"ES256"}
	p384Algorithms    = []string{"ES384"}
	p521Algorithms    = []string{"ES512"}
	ed25519Algorithms = []string{"EdDSA", "Ed25519"} // two names of the same algorithm
)

// goodFor returns the algorithms that a key is suitable for by its type and size alone. This is what keeps a public key
// from being used as a secret.
func goodFor(public any) []string {
	if checkPublic(public) != nil {
		return nil
	}
	switch k := public.(type) {
	case []byte:
		return secretAlgorithms[:min(1+(len(k)-minSecret)/16, len(secretAlgorithms))]
	case *rsa.PublicKey:
		return rsaAlgorithms
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return p256Algorithms
		case 384:
			return p384Algorithms
		default:
			return p521Algorithms
		}
	default:
		return ed25519Algorithms
	}
}

// checkPublic reports why a key cannot be used at all.
func checkPublic(public any) error {
	switch k := public.(type) {
	case []byte:
		if len(k) < minSecret {
			return fmt.Errorf("a secret of %d bytes: want at least %d", len(k), minSecret)
		}
		if bytes.Contains(k, []byte("-----BEGIN ")) { // everybody may know it
			return errors.New("a PEM file as a secret: read it with KeyFile or ParseKeys")
		}
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return errors.New("an empty RSA key")
		}
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits: want %d to %d", n, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			return errors.New("an empty ECDSA key")
		}
		if n := k.Curve.Params().BitSize; n != 256 && n != 384 && n != 521 {
			return fmt.Errorf("an ECDSA key on %s: want P-256, P-384 or P-521", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key of a wrong length")
		}
	default:
		return fmt.Errorf("a key of type %T: want RSA, ECDSA, Ed25519 or a secret", public)
	}
	return nil
}

// algorithms returns the algorithms that the key may be used with: its type is suitable, and Algorithms allows them.
func (k Key) algorithms() []string {
	good := goodFor(k.Public)
	if k.Algorithms == nil {
		return good
	}
	var both []string
	for _, a := range good {
		if slices.Contains(k.Algorithms, a) {
			both = append(both, a)
		}
	}
	return both
}

// allows reports whether the key may be used with an algorithm.
func (k Key) allows(alg string) bool {
	return slices.Contains(goodFor(k.Public), alg) && (k.Algorithms == nil || slices.Contains(k.Algorithms, alg))
}

var (
	_ KeySource = KeySet(nil)
	_ KeySource = joined(nil)
	_ renewer   = joined(nil)
)
