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
	// MinSecret is the shortest secret, in bytes: RFC 7518 §3.2 wants as many as the hash has, 32 for HS256, 48 for
	// HS384 and 64 for HS512.
	MinSecret = 32
	// MaxKeys is the largest number of keys in one set.
	MaxKeys    = 64
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // beyond it, a check costs milliseconds
)

// Key is what signatures are checked with.
type Key struct {
	// ID is the key's kid; empty if it has none.
	ID string
	// Algorithms are those that it may be used with; nil is all that its type is good for. Others than those never count.
	Algorithms []string
	// Public is an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, or a secret as []byte.
	Public any
}

// String is the ID and the algorithms, never the key.
func (k Key) String() string { return fmt.Sprintf("key %q for %v", k.ID, k.algorithms()) }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// KeySource has the keys for a token: those with the ID kid; if there are none of that name, those without an ID; all
// of them if kid is empty. No key is no error: an error says that the source could not tell. It may block until ctx
// ends. Any goroutine may call it; nobody changes what it returned.
type KeySource interface {
	Keys(ctx context.Context, kid string) ([]Key, error)
}

// KeySet is a fixed list of keys. Several may be in use at a time, for a rotation with overlap.
type KeySet []Key

// Keys is part of KeySource. It never fails.
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

// called are the keys with this ID.
func (s KeySet) called(id string) []Key {
	var found []Key
	for _, k := range s {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

// check says what is wrong with the keys of a configuration.
func (s KeySet) check() error {
	if len(s) == 0 {
		return errors.New("no key")
	}
	if len(s) > MaxKeys {
		return fmt.Errorf("%d keys: the limit is %d", len(s), MaxKeys)
	}
	for _, k := range s {
		if err := checkPublic(k.Public); err != nil {
			return err
		}
		if len(k.algorithms()) == 0 {
			return fmt.Errorf("a key that is restricted to %v: its type is not good for that", k.Algorithms)
		}
	}
	return nil
}

// Secret makes a set of one secret: for HS256 from 32 bytes on, for HS384 from 48 and for HS512 from 64. NewJWT refuses
// a shorter one. It keeps a copy of b.
func Secret(b []byte) KeySet { return KeySet{{Public: bytes.Clone(b)}} }

// JoinKeys makes one source of several: a token may be signed by a key of any of them. One that cannot tell matters
// only if none of the others' keys fits.
func JoinKeys(sources ...KeySource) KeySource { return joined(sources) }

type joined []KeySource

// Keys is part of KeySource.
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

// renew is part of renewer.
func (j joined) renew(ctx context.Context, since time.Time) bool {
	any := false
	for _, s := range j {
		any = renewed(ctx, s, since) || any
	}
	return any
}

// check says what is wrong with those that are fixed.
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

// checkSource says what is wrong with a source that is none, and with keys that do not change.
func checkSource(s KeySource) error {
	if isNil(s) {
		return fmt.Errorf("without keys: a nil KeySource of type %T", s)
	}
	if c, ok := s.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// methods are the algorithms, with what carries them out. "none" is not among them. RFC 7518 §3.1, RFC 8037 §3.1,
// RFC 9864 §2.2.
var methods = map[string]jwt.SigningMethod{
	"HS256": jwt.SigningMethodHS256, "HS384": jwt.SigningMethodHS384, "HS512": jwt.SigningMethodHS512,
	"RS256": jwt.SigningMethodRS256, "RS384": jwt.SigningMethodRS384, "RS512": jwt.SigningMethodRS512,
	"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512,
	"ES256": jwt.SigningMethodES256, "ES384": jwt.SigningMethodES384, "ES512": jwt.SigningMethodES512,
	"EdDSA": jwt.SigningMethodEdDSA, "Ed25519": jwt.SigningMethodEdDSA,
}

// What each type of key is good for.
var (
	secretAlgorithms  = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	p256Algorithms    = []string{"ES256"}
	p384Algorithms    = []string{"ES384"}
	p521Algorithms    = []string{"ES512"}
	ed25519Algorithms = []string{"EdDSA", "Ed25519"} // two names of one thing
)

// goodFor are the algorithms of a key by its type and size, whatever anybody else says: that a public key never serves
// as a secret is decided here.
func goodFor(public any) []string {
	if checkPublic(public) != nil {
		return nil
	}
	switch k := public.(type) {
	case []byte:
		return secretAlgorithms[:min(1+(len(k)-MinSecret)/16, len(secretAlgorithms))]
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

// checkPublic says why a key is good for nothing.
func checkPublic(public any) error {
	switch k := public.(type) {
	case []byte:
		if len(k) < MinSecret {
			return fmt.Errorf("a secret of %d bytes: want at least %d", len(k), MinSecret)
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

// algorithms are those that the key may be used with: its type is good for them, and Algorithms lists them.
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

// allows says whether the key may be used with an algorithm.
func (k Key) allows(alg string) bool {
	return slices.Contains(goodFor(k.Public), alg) && (k.Algorithms == nil || slices.Contains(k.Algorithms, alg))
}

var (
	_ KeySource = KeySet(nil)
	_ KeySource = joined(nil)
	_ renewer   = joined(nil)
)
