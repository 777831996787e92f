// Package verifier opens the keys and the token verifier that a configuration names.
package verifier

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// Tokens that a public key, a provider or an endpoint has verified are cached, to save doing so again when a client
// reconnects. An entry takes about half a KiB. Checking a secret takes 10 µs: its tokens are not cached.
const (
	cacheSize = 20_000
	cacheTime = 5 * time.Minute
)

// Config names the keys of tokens. Errors begin with the name of the field that is wrong: "Verifier.JWKS: …".
type Config struct {
	Secret     []byte   // of tokens with HS256, HS384 and HS512; empty: none
	SecretFile string   // file with such a secret
	Keys       string   // file with public keys: PEM or a JWK set
	JWKS       string   // URL of a JWK set
	Issuers    []string // accepted; empty: any
	Audiences  []string // accepted; empty: any
	Leeway     time.Duration

	Introspect   string // URL that opaque tokens are sent to (RFC 7662)
	ClientID     string // name of this server there
	ClientSecret string

	Log *slog.Logger // receives errors of keys that are read again
}

// OpenKeys returns the keys that signatures are checked with, or nil if the configuration names none. The Closer is
// never nil.
func (c Config) OpenKeys() (auth.KeySource, io.Closer, error) {
	var keys []auth.KeySource
	var ends closers
	if len(c.Secret) > 0 {
		set, err := auth.ParseSecret(c.Secret)
		if err != nil {
			return nil, ends, fmt.Errorf("Verifier.Secret: %w", err)
		}
		keys = append(keys, set)
	}
	if c.SecretFile != "" {
		file, err := auth.SecretFile(c.SecretFile)
		if err != nil {
			return nil, ends, fmt.Errorf("Verifier.SecretFile: %w", err)
		}
		file.OnError(c.failed("secret file"))
		keys = append(keys, file)
	}
	if c.Keys != "" {
		file, err := auth.KeyFile(c.Keys)
		if err != nil {
			return nil, ends, fmt.Errorf("Verifier.Keys: %w", err)
		}
		file.OnError(c.failed("key file"))
		keys = append(keys, file)
	}
	if c.JWKS != "" {
		set, err := auth.NewJWKS(auth.JWKSConfig{URL: c.JWKS, OnError: c.failed("JWK set")})
		if err != nil {
			return nil, ends, fmt.Errorf("Verifier.JWKS: %w", err)
		}
		keys, ends = append(keys, set), append(ends, set)
	}
	if len(keys) == 0 {
		return nil, ends, nil
	}
	return auth.JoinKeys(keys...), ends, nil
}

// failed returns a function that logs an error of keys that are read again.
func (c Config) failed(what string) func(error) {
	return func(err error) {
		if errors.Is(err, auth.ErrNoKeys) {
			c.Log.Error(what+" not read: tokens are refused until it is", "error", err)
			return
		}
		c.Log.Error(what+" not read again: the previous keys stay in force", "error", err)
	}
}

// Open returns a verifier for the keys and the introspection endpoint, or nil if the configuration names neither. The
// Closer is never nil.
func (c Config) Open() (auth.Verifier, io.Closer, error) {
	keys, end, err := c.OpenKeys()
	ends := closers{end}
	if err != nil {
		return nil, ends, err
	}
	var list []auth.Verifier
	if keys != nil {
		v, err := auth.NewJWT(auth.JWTConfig{Keys: keys, Issuers: c.Issuers, Audiences: c.Audiences, Leeway: c.Leeway})
		if err != nil {
			return nil, ends, err
		}
		list = append(list, v)
	}
	if c.Introspect != "" {
		v, err := auth.NewIntrospector(auth.IntrospectConfig{
			URL: c.Introspect, ClientID: c.ClientID, ClientSecret: c.ClientSecret,
			Issuers: c.Issuers, Audiences: c.Audiences, Leeway: c.Leeway,
		})
		if err != nil {
			return nil, ends, fmt.Errorf("Verifier.Introspect: %w", err)
		}
		list, ends = append(list, v), append(ends, v)
	}
	if len(list) == 0 {
		return nil, ends, nil
	}
	v := auth.Chain(list...)
	if c.Keys != "" || c.JWKS != "" || c.Introspect != "" {
		v = auth.NewCache(v, cacheSize, cacheTime)
	}
	return v, ends, nil
}

type closers []io.Closer

// Close closes all of them.
func (c closers) Close() error {
	var err error
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}
