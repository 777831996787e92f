package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/inspect"
	"github.com/expedite-go/expedite/internal/settings"
)

// tokenSecret is long enough for HS256.
const tokenSecret = "a secret of the server that nobody can guess"

// runToken runs a token command like main does, with in as its standard input.
func runToken(t *testing.T, in string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var c struct {
		Token tokenCmd `cmd:""`
	}
	c.Token.Inspect.Stdin = strings.NewReader(in)
	c.Token.Inspect.settingFlags = newSettingFlags(settings.KeysOfTokens)
	var out, errs bytes.Buffer
	parser, err := kong.New(&c, kong.Name("expedite"), kong.DefaultEnvars("EXPEDITE"), kong.Writers(&out, &errs),
		kong.BindTo(&out, (*io.Writer)(nil)), kong.Bind(&Console{&out, &errs, program("expedite")}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"token"}, args...))
	if err != nil {
		return "", "", usageError{err}
	}
	err = ctx.Run()
	return out.String(), errs.String(), err
}

// inspected returns the report on a token, and the error of the command.
func inspected(t *testing.T, token string, args ...string) (inspect.Report, error) {
	t.Helper()
	out, _, err := runToken(t, token, append([]string{"inspect", "--json"}, args...)...)
	var r inspect.Report
	if errJSON := json.Unmarshal([]byte(out), &r); errJSON != nil {
		t.Fatalf("%v: %q, %v", errJSON, out, err)
	}
	return r, err
}

// noSecret removes the keys of a server from the environment.
func noSecret(t *testing.T) {
	for _, name := range []string{SecretVariable, "EXPEDITE_AUTH_SECRET_FILE", "EXPEDITE_AUTH_KEYS", "EXPEDITE_AUTH_JWKS"} {
		t.Setenv(name, "")
		_ = os.Unsetenv(name) // Setenv restores it
	}
}

func TestTokenNew(t *testing.T) {
	noSecret(t)
	t.Setenv(SecretVariable, tokenSecret)
	t.Setenv("EXPEDITE_USER", "somebody else") // not a flag of these commands
	out, stderr, err := runToken(t, "", "new", "--user", "alice", "--scope", "chat:read,chat:write", "--scope", "x", "--ttl", "10m",
		"--id", "t-1", "--audience", "expedite", "--issuer", "me", "--claim", `subscribe=["lobby","user.{user}"]`,
		"--claim", "level=7", "--claim", "id=9007199254740993", "--claim", `name=Alice A, "the first"`, "--claim", `text="7"`)
	if err != nil || stderr != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("got %q, %q, %v", out, stderr, err)
	}
	r, err := inspected(t, out)
	if err != nil || !r.Valid || r.Signature != inspect.SignatureGood || r.User != "alice" || r.TokenID != "t-1" || r.Error != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if d := r.ExpiresAt.Sub(*r.IssuedAt); d != 10*time.Minute {
		t.Errorf("got a token for %v, want 10m", d)
	}
	const want = `{"alg":"HS256","typ":"JWT"}`
	if got := compact(t, r.Header); got != want {
		t.Errorf("header: got %s, want %s", got, want)
	}
	claims := compact(t, r.Claims)
	for _, want := range []string{
		`"sub":"alice"`, `"scope":"chat:read chat:write x"`, `"aud":"expedite"`, `"iss":"me"`, `"subscribe":["lobby","user.{user}"]`,
		`"level":7`, `"id":9007199254740993`, `"name":"Alice A, \"the first\""`, `"text":"7"`,
	} {
		if !strings.Contains(claims, want) {
			t.Errorf("claims: got %s, want %s in it", claims, want)
		}
	}
	_, stderr, err = runToken(t, "", "new", "--user", "alice", "--claim", "big="+strings.Repeat("x", auth.MaxClaims))
	if err != nil || !strings.Contains(stderr, "warning") {
		t.Errorf("large claims: got %q, %v, want a warning", stderr, err)
	}
}

// TestTokenWrongUse checks that wrong use has its own exit code and a helpful error without secrets.
func TestTokenWrongUse(t *testing.T) {
	noSecret(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret, short := write("secret", tokenSecret+"\n"), write("short", "hunter2")
	_, public, err := auth.GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "expected"},
		{"no user", []string{"new"}, "--user"},
		{"no key", []string{"new", "--user", "alice"}, SecretVariable},
		{"no such file", []string{"new", "--user", "alice", "--key", filepath.Join(dir, "none")}, "no such file"},
		{"a short secret", []string{"new", "--user", "alice", "--auth-secret-file", short}, "7 bytes"},
		{"a public key", []string{"new", "--user", "alice", "--key", write("public.jwk", string(public))}, "only public"},
		{"empty user", []string{"new", "--user", "", "--key", secret}, "user"},
		{"user with a line end", []string{"new", "--user", "a\nb", "--key", secret}, "no server would accept"},
		{"no time", []string{"new", "--user", "alice", "--ttl", "0s", "--key", secret}, "at least 1s"},
		{"claim without a value", []string{"new", "--user", "alice", "--claim", "x", "--key", secret}, "NAME=VALUE"},
		{"claim that has a flag", []string{"new", "--user", "alice", "--claim", "exp=1", "--key", secret}, "a flag for exp"},
		{"unknown algorithm", []string{"keygen", "--alg", "none"}, "EdDSA"},
		{"public half of a secret", []string{"keygen", "--alg", "HS256", "--out", filepath.Join(dir, "x"), "--public", filepath.Join(dir, "y")}, "no public key"},
		{"public half without the private one", []string{"keygen", "--public", filepath.Join(dir, "y")}, "--out"},
		{"no token", []string{"inspect"}, "standard input"},
		{"keys that are none", []string{"inspect", "a.b.c", "--auth-keys", short}, "--auth-keys"},
		{"an address without TLS", []string{"inspect", "e30.e30.eA", "--auth-jwks", "http://issuer.test/"}, "want https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := ""
			if tt.name == "keys that are none" {
				tt.args[1] = "e30.e30.eA"
			}
			out, _, err := runToken(t, token, tt.args...)
			if _, isUsage := errors.AsType[usageError](err); !isUsage || !strings.Contains(err.Error(), tt.want) || out != "" {
				t.Errorf("got %q, %v, want wrong use: %q", out, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, which says the secret", err)
			}
		})
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
		t.Errorf("got %v, %v, want no more than the three files of the test", files, err)
	}
}

// TestTokenKeygen checks that generated keys sign and verify, that files are not overwritten, and that the private one
// has mode 0600.
func TestTokenKeygen(t *testing.T) {
	noSecret(t)
	for _, alg := range []string{"EdDSA", "ES256", "HS384"} {
		t.Run(alg, func(t *testing.T) {
			dir := t.TempDir()
			private, public := filepath.Join(dir, "private.jwk"), filepath.Join(dir, "public.jwk")
			args := []string{"keygen", "--alg", alg, "--out", private}
			check := []string{"--auth-secret-file", private}
			if alg != "HS384" {
				args = append(args, "--public", public)
				check = []string{"--auth-keys", public}
			}
			if out, stderr, err := runToken(t, "", args...); err != nil || out != "" || !strings.Contains(stderr, private) {
				t.Fatalf("got %q, %q, %v", out, stderr, err)
			}
			info, err := os.Stat(private)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
			}
			token, _, err := runToken(t, "", "new", "--user", "alice", "--key", private)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := inspected(t, token, check...); err != nil || r.User != "alice" || !strings.Contains(string(r.Header), alg) {
				t.Errorf("got %+v, %v", r, err)
			}
			before, err := os.ReadFile(private)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := runToken(t, "", args...); !errors.Is(err, os.ErrExist) {
				t.Errorf("again: got %v, want that the file is there", err)
			}
			if after, err := os.ReadFile(private); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the key was overwritten: %v", err)
			}
		})
	}
	dir := t.TempDir()
	private, public := filepath.Join(dir, "private.jwk"), filepath.Join(dir, "none", "public.jwk")
	if _, _, err := runToken(t, "", "keygen", "--out", private, "--public", public); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("public key in no folder: got %v", err)
	}
	if _, err := os.Stat(private); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the private key of a pair that is not complete is there: %v", err)
	}
	out, stderr, err := runToken(t, "", "keygen")
	if _, errKey := auth.ParsePrivateKey([]byte(out)); err != nil || errKey != nil || stderr != "" {
		t.Errorf("printed: got %v, %v, %q", err, errKey, stderr)
	}
	out, _, err = runToken(t, "", "keygen", "--out", private)
	if keys, errKeys := auth.ParseKeys([]byte(out)); err != nil || errKeys != nil || strings.Contains(out, `"d"`) {
		t.Errorf("public half printed: got %v, %v, %v", keys, err, errKeys)
	}
}

// TestTokenInspect checks the verdict, and whether the signature was checked.
func TestTokenInspect(t *testing.T) {
	noSecret(t)
	key, err := auth.ParsePrivateKey([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	sign := func(more ...any) string {
		claims := map[string]any{"sub": "alice", "exp": now.Add(time.Hour).Unix(), "jti": "t-1", "iss": "me"}
		for n := 0; n < len(more); n += 2 {
			claims[more[n].(string)] = more[n+1]
		}
		token, err := key.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := sign()
	for _, tt := range []struct {
		name, token string
		secret      bool // in the environment
		args        []string
		signature   string
		code        auth.Reason // empty: good
	}{
		{"good", good, true, nil, inspect.SignatureGood, ""},
		{"good, with space around", " \n" + good + "\r\n", true, nil, inspect.SignatureGood, ""},
		{"good, as in a header", "Bearer " + good, true, nil, inspect.SignatureGood, ""},
		{"good, for an issuer", good, true, []string{"--auth-issuer", "you", "--auth-issuer", "me"}, inspect.SignatureGood, ""},
		{"without a key", good, false, nil, inspect.SignatureUnchecked, ""},
		{"without a key, expired", sign("exp", 1), false, nil, inspect.SignatureUnchecked, auth.ReasonExpired},
		{"without a key, too early", sign("nbf", now.Add(time.Minute).Unix()), false, nil, inspect.SignatureUnchecked, auth.ReasonNotYetValid},
		{"expired", sign("exp", 1), true, nil, inspect.SignatureGood, auth.ReasonExpired},
		{"too early", sign("nbf", now.Add(time.Hour).Unix()), true, nil, inspect.SignatureGood, auth.ReasonNotYetValid},
		{"another issuer", good, true, []string{"--auth-issuer", "you"}, inspect.SignatureGood, auth.ReasonWrongIssuer},
		{"another audience", good, true, []string{"--auth-audience", "you"}, inspect.SignatureGood, auth.ReasonWrongAudience},
		{"another key", good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 43), true, nil, inspect.SignatureBad, auth.ReasonBadSignature},
		{"another issuer and key", good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 43), true, []string{"--auth-issuer", "you"}, inspect.SignatureBad, auth.ReasonWrongIssuer},
		{"without a user", sign("sub", ""), true, nil, inspect.SignatureUnchecked, auth.ReasonMalformed},
		{"a provider that is down", good, false, []string{"--auth-jwks", "http://127.0.0.1:1/"}, inspect.SignatureUnchecked, auth.ReasonUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.secret {
				t.Setenv(SecretVariable, tokenSecret)
			}
			r, err := inspected(t, tt.token, tt.args...)
			var code auth.Reason
			if r.Error != nil {
				code = r.Error.Code
			}
			if r.Signature != tt.signature || code != tt.code || r.Valid != (tt.code == "") || (err == nil) != r.Valid || r.TokenID != "t-1" {
				t.Errorf("got %+v (%q), %v, want signature %s and %q", r, code, err, tt.signature, tt.code)
			}
			if err != nil && exitCode(err) != exitFailed {
				t.Errorf("exit code: got %d, want %d", exitCode(err), exitFailed)
			}
			text, _, _ := runToken(t, tt.token, append([]string{"inspect", "-"}, tt.args...)...)
			for _, want := range []string{"header {", `"sub": "`, "expires ", "token id   t-1", "signature  " + tt.signature, "verdict    "} {
				if !strings.Contains(text, want) {
					t.Errorf("got %q, want it to say %q", text, want)
				}
			}
		})
	}
	for name, token := range map[string]string{
		"opaque": "opaque", "no JSON": "e30.YQ.YQ", "no base64": "e30.!!.YQ", "a list": "e30.W10.YQ", "five parts": "e30.a.b.c.d", "too long": strings.Repeat("a", 65<<10),
	} {
		if out, _, err := runToken(t, token, "inspect"); err == nil || exitCode(err) != exitFailed || out != "" {
			t.Errorf("%s: got %q, %v", name, out, err)
		}
	}
}
