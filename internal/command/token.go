package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// tokenCmd implements `expedite token`.
type tokenCmd struct {
	New     tokenNewCmd     `cmd:"" help:"Create a token."`
	Inspect tokenInspectCmd `cmd:"" help:"Show what a token contains, and whether it is valid."`
	Keygen  tokenKeygenCmd  `cmd:"" help:"Create a key to sign tokens with."`
}

// tokenNewCmd implements `expedite token new`.
type tokenNewCmd struct {
	User       string        `help:"User (sub)." required:"" placeholder:"USER" env:"-"`
	Scope      []string      `help:"Scopes (scope)." placeholder:"SCOPE" env:"-"`
	TTL        time.Duration `name:"ttl" help:"Lifetime." default:"1h" env:"-"`
	ID         string        `name:"id" help:"Id, for a revocation (jti). Default: random." placeholder:"ID" env:"-"`
	Audience   []string      `help:"Audience (aud)." placeholder:"AUD" env:"-"`
	Issuer     string        `help:"Issuer (iss)." placeholder:"ISS" env:"-"`
	Claim      []string      `help:"Further claim; JSON or text." sep:"none" placeholder:"NAME=VALUE" env:"-"`
	Key        string        `help:"File with the private key: JWK, PEM or a secret." placeholder:"FILE" env:"-"`
	SecretFile string        `name:"auth-secret-file" help:"Or the file with the secret of a server." placeholder:"FILE"`
}

// Help returns the text of `expedite token new --help`.
func (tokenNewCmd) Help() string {
	return `Signs the token with the key of --key, with that of --auth-secret-file, or with EXPEDITE_AUTH_SECRET.

Examples:
  EXPEDITE_AUTH_SECRET=… expedite token new --user alice
  expedite token new --user alice --key private.jwk --ttl 10m --scope chat:read,chat:write
  expedite token new --user alice --auth-secret-file secret --claim 'subscribe=["lobby","user.{user}"]' --claim level=7`
}

// Run creates a token and prints it.
func (n *tokenNewCmd) Run(c *Console) error {
	key, err := n.key()
	if err != nil {
		return err
	}
	claims, err := n.claims(time.Now())
	if err != nil {
		return err
	}
	token, err := key.Sign(claims)
	if err != nil {
		return err
	}
	// Do not print a token that no server would accept.
	v, err := auth.NewJWT(auth.JWTConfig{Keys: key.KeySet()})
	if err != nil {
		return err
	}
	id, err := v.Verify(context.Background(), token)
	if err != nil {
		return usageError{fmt.Errorf("no server would accept this token: %w", err)}
	}
	if id.Partial {
		c.warn(fmt.Sprintf("servers omit claims beyond %d bytes", auth.MaxClaims))
	}
	_, err = fmt.Fprintln(c.Out, token)
	return err
}

// key returns the key to sign with.
func (n *tokenNewCmd) key() (auth.SigningKey, error) {
	flag, path := "--key", n.Key
	if path == "" {
		flag, path = "--auth-secret-file", n.SecretFile
	}
	if path == "" {
		secret := os.Getenv(SecretVariable)
		if secret == "" {
			return auth.SigningKey{}, usageError{
				errors.New("no key to sign with: use --key, --auth-secret-file or " + SecretVariable),
			}
		}
		key, err := auth.ParsePrivateKey([]byte(secret))
		if err != nil {
			return key, usageError{fmt.Errorf("%s: %w", SecretVariable, err)}
		}
		return key, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return auth.SigningKey{}, usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	key, err := auth.ParsePrivateKey(b)
	if err != nil {
		return key, usageError{fmt.Errorf("%s %s: %w", flag, path, err)}
	}
	return key, nil
}

// claims returns the claims of the token.
func (n *tokenNewCmd) claims(now time.Time) (map[string]any, error) {
	if n.TTL < time.Second {
		return nil, usageError{fmt.Errorf("--ttl %v: want at least 1s", n.TTL)}
	}
	claims := map[string]any{
		"sub": n.User, "iat": now.Unix(), "exp": now.Add(n.TTL).Unix(), "jti": n.ID,
	}
	if n.ID == "" {
		claims["jti"] = strings.ToLower(rand.Text())
	}
	if len(n.Scope) > 0 {
		claims["scope"] = strings.Join(n.Scope, " ")
	}
	switch len(n.Audience) {
	case 0:
	case 1:
		claims["aud"] = n.Audience[0]
	default:
		claims["aud"] = n.Audience
	}
	if n.Issuer != "" {
		claims["iss"] = n.Issuer
	}
	for _, claim := range n.Claim {
		name, text, ok := strings.Cut(claim, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--claim %q: want NAME=VALUE", claim)}
		}
		if slices.Contains([]string{"sub", "iat", "exp", "jti", "scope", "aud", "iss"}, name) {
			return nil, usageError{fmt.Errorf("--claim %q: there is a flag for %s", claim, name)}
		}
		claims[name] = claimValue(text)
	}
	return claims, nil
}

// claimValue returns text as JSON if it is valid JSON, which keeps its numbers as they are, and as a string otherwise.
func claimValue(text string) any {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// tokenKeygenCmd implements `expedite token keygen`.
type tokenKeygenCmd struct {
	Alg    string `help:"${enum}." enum:"EdDSA,ES256,ES384,ES512,RS256,PS256,HS256,HS384,HS512" default:"EdDSA" env:"-"`
	Out    string `help:"File for the private key. Default: print it." placeholder:"FILE" env:"-"`
	Public string `help:"File for the public key, for --auth-keys." placeholder:"FILE" env:"-"`
}

// Help returns the text of `expedite token keygen --help`.
func (tokenKeygenCmd) Help() string {
	return `Writes JWKs, and does not overwrite files. HS256, HS384 and HS512 produce a secret, which has no public key: it
is for --auth-secret-file.

Examples:
  expedite token keygen --out private.jwk --public public.jwk
  expedite token keygen --alg HS256 --out secret.jwk`
}

// Run creates a key and writes it.
func (k *tokenKeygenCmd) Run(c *Console) error {
	private, public, err := auth.GenerateKey(k.Alg)
	if err != nil {
		return err
	}
	if k.Public != "" && public == nil {
		return usageError{fmt.Errorf("--public: %s is a secret, and has no public key", k.Alg)}
	}
	if k.Out == "" && k.Public != "" {
		return usageError{errors.New("--public wants --out: otherwise the private key would be printed")}
	}
	if k.Out == "" {
		_, err := c.Out.Write(private)
		return err
	}
	if err := writeNew(k.Out, private, 0o600); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	fmt.Fprintf(c.Err, "private key in %s\n", k.Out)
	switch {
	case public == nil:
		return nil
	case k.Public == "":
		_, err := c.Out.Write(public)
		return err
	}
	if err := writeNew(k.Public, public, 0o644); err != nil {
		return errors.Join(fmt.Errorf("--public: %w", err), os.Remove(k.Out)) // write both or none
	}
	fmt.Fprintf(c.Err, "public key in %s\n", k.Public)
	return nil
}

// writeNew writes a file that must not exist.
func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
