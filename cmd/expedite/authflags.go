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
	"github.com/expedite-go/expedite/internal/verifier"
)

// Secrets have variables and no flags: every user of the machine can read the arguments of a process.
const (
	secretEnv           = "EXPEDITE_AUTH_SECRET" // of tokens with HS256, HS384 and HS512
	introspectSecretEnv = "EXPEDITE_AUTH_INTROSPECT_SECRET"
)

// keyFlags name the keys of tokens.
type keyFlags struct {
	SecretFile string   `name:"auth-secret-file" help:"File with the secret of HS256 tokens." placeholder:"FILE"`
	Keys       string   `name:"auth-keys" help:"File with public keys: PEM or a JWK set." placeholder:"FILE"`
	JWKS       string   `name:"auth-jwks" help:"URL of the public keys of tokens." placeholder:"URL"`
	Issuer     []string `name:"auth-issuer" help:"Accept only tokens of these. Default: any." placeholder:"ISS"`
	Audience   []string `name:"auth-audience" help:"Accept only tokens for these. Default: any." placeholder:"AUD"`
}

func (f *keyFlags) config(log *slog.Logger) verifier.Config {
	return verifier.Config{
		Secret: []byte(os.Getenv(secretEnv)), SecretFile: f.SecretFile, Keys: f.Keys, JWKS: f.JWKS,
		Issuers: f.Issuer, Audiences: f.Audience, Log: log,
	}
}

// authFlags say how clients identify themselves.
type authFlags struct {
	Auth string `help:"Access tokens: off, optional or required. Default: optional if there is a key." placeholder:"MODE"`
	keyFlags
	Introspect string   `name:"auth-introspect" help:"URL to verify opaque tokens at (RFC 7662)." placeholder:"URL"`
	ClientID   string   `name:"auth-introspect-client" help:"Name of this server at that URL." placeholder:"ID"`
	Origins    []string `help:"Further origins of pages, like https://*.example.com. Default: none." placeholder:"ORIGIN"`

	Leeway time.Duration `name:"auth-leeway" help:"Accept tokens for this long after they expire." default:"5s"`
}

// config returns the settings that the flags stand for. The Closer ends what the verifier runs; it is never nil.
func (f *authFlags) config(log *slog.Logger) (cfg expedite.Auth, end io.Closer, err error) {
	end = io.NopCloser(nil)
	if cfg.Mode, err = f.mode(); err != nil {
		return cfg, end, err
	}
	if cfg.Origins, err = auth.ParseOrigins(f.Origins); err != nil {
		return cfg, end, usageError{fmt.Errorf("--origins: %w", err)}
	}
	if f.Leeway < 0 {
		return cfg, end, usageError{fmt.Errorf("--auth-leeway %s: want 0 or more", f.Leeway)}
	}
	cfg.Permit = auth.ClaimPermit("subscribe", "publish")
	c := f.keyFlags.config(log)
	c.Leeway = orNever(f.Leeway)
	c.Introspect, c.ClientID, c.ClientSecret = f.Introspect, f.ClientID, os.Getenv(introspectSecretEnv)
	if cfg.Verifier, end, err = c.Open(); err != nil {
		return cfg, end, wrongFlag(err)
	}
	if cfg.Verifier == nil && cfg.Mode == expedite.AuthRequired {
		return cfg, end, usageError{errors.New("--auth required wants a key: " + secretEnv +
			", --auth-secret-file, --auth-keys, --auth-jwks or --auth-introspect")}
	}
	return cfg, end, nil
}

func (f *authFlags) mode() (expedite.AuthMode, error) {
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
