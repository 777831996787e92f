package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
)

// secretEnv holds the secret of tokens with HS256, HS384 and HS512. There is no flag for it: everybody on the machine
// can read the arguments of a process.
const secretEnv = "EXPEDITE_AUTH_SECRET"

// introspectSecretEnv holds what this server shows to the introspection endpoint.
const introspectSecretEnv = "EXPEDITE_AUTH_INTROSPECT_SECRET"

// identifyFlags are how clients identify themselves.
type identifyFlags struct {
	Auth       string   `help:"Tokens: off, optional, required. Default: optional with a key." placeholder:"MODE"`
	SecretFile string   `name:"auth-secret-file" help:"Secret of HS256 tokens." placeholder:"FILE"`
	Keys       string   `name:"auth-keys" help:"Keys of tokens: PEM or a JWK set." placeholder:"FILE"`
	JWKS       string   `name:"auth-jwks" help:"Address of the keys of tokens." placeholder:"URL"`
	Introspect string   `name:"auth-introspect" help:"Ask here about opaque tokens (RFC 7662)." placeholder:"URL"`
	ClientID   string   `name:"auth-introspect-client" help:"Name of this server there." placeholder:"ID"`
	Issuer     []string `name:"auth-issuer" help:"Accept tokens of these issuers only." placeholder:"ISS"`
	Audience   []string `name:"auth-audience" help:"Accept tokens for these audiences only." placeholder:"AUD"`
	Origins    []string `help:"Pages of other hosts that may connect, like https://*.example.com." placeholder:"ORIGIN"`

	Leeway time.Duration `name:"auth-leeway" help:"Accept tokens for so long after their exp." default:"5s"`
}

// verifiedTokens is how many verified tokens are kept for clients that come back, and for how long. Half a KiB each.
const (
	verifiedTokens = 20_000
	verifiedTime   = 5 * time.Minute
)

// slow says whether tokens are verified by public keys or by somebody else: it is worth memory not to do so twice. A
// secret is checked in ten microseconds.
func (f *identifyFlags) slow() bool { return f.Keys != "" || f.JWKS != "" || f.Introspect != "" }

// config makes sense of the flags. closer ends what the verifiers run; it is never nil.
func (f *identifyFlags) config(log *slog.Logger) (cfg expedite.Auth, closer io.Closer, err error) {
	closer = closers(nil)
	if cfg.Mode, err = f.mode(); err != nil {
		return cfg, closer, err
	}
	if cfg.Origins, err = auth.ParseOrigins(f.Origins); err != nil {
		return cfg, closer, usageError{fmt.Errorf("--origins: %w", err)}
	}
	if f.Leeway < 0 {
		return cfg, closer, usageError{fmt.Errorf("--auth-leeway %s: want 0 or more", f.Leeway)}
	}
	cfg.Permit = auth.ClaimPermit("subscribe", "publish")
	list, ends, err := f.verifiers(log)
	if err != nil {
		return cfg, closer, err
	}
	switch {
	case len(list) > 0 && f.slow():
		cfg.Verifier = auth.NewCache(auth.Chain(list...), verifiedTokens, verifiedTime)
	case len(list) > 0:
		cfg.Verifier = auth.Chain(list...)
	case cfg.Mode == expedite.AuthRequired:
		return cfg, closer, usageError{errors.New("--auth required wants a key: " + secretEnv +
			", --auth-secret-file, --auth-keys, --auth-jwks or --auth-introspect")}
	}
	return cfg, ends, nil
}

func (f *identifyFlags) mode() (expedite.AuthMode, error) {
	switch strings.ToLower(f.Auth) {
	case "":
		return expedite.AuthDefault, nil
	case "off":
		return expedite.AuthOff, nil
	case "optional":
		return expedite.AuthOptional, nil
	case "required":
		return expedite.AuthRequired, nil
	default:
		return 0, usageError{fmt.Errorf("--auth %q: want off, optional or required", f.Auth)}
	}
}

// verifiers are those that the flags ask for.
func (f *identifyFlags) verifiers(log *slog.Logger) (list []auth.Verifier, ends closers, err error) {
	keys, ends, err := f.keys(log)
	if err != nil {
		return nil, nil, err
	}
	if len(keys) > 0 {
		v, err := auth.NewJWT(auth.JWTConfig{
			Keys: auth.JoinKeys(keys...), Issuers: f.Issuer, Audiences: f.Audience, Leeway: orNever(f.Leeway),
		})
		if err != nil {
			return nil, nil, usageError{err}
		}
		list = append(list, v)
	}
	if f.Introspect != "" {
		v, err := auth.NewIntrospector(auth.IntrospectConfig{
			URL: f.Introspect, ClientID: f.ClientID, ClientSecret: os.Getenv(introspectSecretEnv),
			Issuers: f.Issuer, Audiences: f.Audience, Leeway: orNever(f.Leeway),
		})
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--auth-introspect: %w", err)}
		}
		list, ends = append(list, v), append(ends, v)
	}
	return list, ends, nil
}

// keys are those that signatures are checked with.
func (f *identifyFlags) keys(log *slog.Logger) (keys []auth.KeySource, ends closers, err error) {
	failed := func(what string) func(error) {
		return func(err error) {
			if errors.Is(err, auth.ErrNoKeys) {
				log.Error(what+" not read: its tokens cannot be verified before it comes", "error", err)
				return
			}
			log.Error(what+" not read again: the keys of before stay in force", "error", err)
		}
	}
	if s := os.Getenv(secretEnv); s != "" {
		set, err := auth.ParseSecret([]byte(s))
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("%s: %w", secretEnv, err)}
		}
		keys = append(keys, set)
	}
	if f.SecretFile != "" {
		file, err := auth.SecretFile(f.SecretFile)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--auth-secret-file: %w", err)}
		}
		file.OnError(failed("secret file"))
		keys = append(keys, file)
	}
	if f.Keys != "" {
		file, err := auth.KeyFile(f.Keys)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--auth-keys: %w", err)}
		}
		file.OnError(failed("key file"))
		keys = append(keys, file)
	}
	if f.JWKS != "" {
		set, err := auth.NewJWKS(auth.JWKSConfig{URL: f.JWKS, OnError: failed("JWK set")})
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--auth-jwks: %w", err)}
		}
		keys, ends = append(keys, set), append(ends, set)
	}
	return keys, ends, nil
}

// closers are closed together.
type closers []io.Closer

// Close closes all.
func (c closers) Close() error {
	var err error
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}
