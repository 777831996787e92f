package command

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/inspect"
)

// maxTokenInput limits what is read from standard input, in bytes.
const maxTokenInput = 64 << 10

// tokenInspectCmd implements `expedite token inspect`.
type tokenInspectCmd struct {
	Token string `arg:"" optional:"" help:"The token. Default, and -: from standard input." placeholder:"TOKEN"`
	settingFlags
	JSON bool `help:"Print JSON." name:"json"`

	Stdin io.Reader `kong:"-"` // nil: os.Stdin
}

// Help returns the text of `expedite token inspect --help`.
func (tokenInspectCmd) Help() string {
	return `The keys are those of expedite serve. Without any, the signature is not checked.
The exit code is 1 if the token is not valid.

Every user of the machine can read the arguments of a process: prefer the standard input.

Examples:
  expedite token new --user alice | expedite token inspect
  expedite token inspect --auth-keys public.jwk < token
  expedite token inspect --auth-jwks https://issuer.example.com/jwks --json < token | jq .claims`
}

// Run reads a token and prints the report on it.
func (i *tokenInspectCmd) Run(ctx *kong.Context, c *Console) error {
	token, err := i.read()
	if err != nil {
		return err
	}
	report, err := inspect.Token(token)
	if err != nil {
		return err
	}
	loaded, err := i.load(ctx, configfile.Read)
	if err != nil {
		return err
	}
	v := loaded.Verifier
	v.Log = slog.New(slog.DiscardHandler)
	keys, end, err := v.OpenKeys()
	defer end.Close()
	if err != nil {
		return usageError{loaded.Locate(err)}
	}
	if err := report.Verify(auth.JWTConfig{Keys: keys, Issuers: v.Issuers, Audiences: v.Audiences}); err != nil {
		return usageError{err}
	}
	if i.JSON {
		err = PrintJSON(c.Out, report)
	} else {
		_, err = io.WriteString(c.Out, report.Text(time.Now()))
	}
	if err == nil && report.Error != nil {
		return fmt.Errorf("the token is not valid: %s: %s", report.Error.Code, report.Error.Message)
	}
	return err
}

// read returns the token of the arguments or of the standard input.
func (i *tokenInspectCmd) read() (string, error) {
	token := i.Token
	if token == "" || token == "-" {
		in := i.Stdin
		if in == nil {
			in = os.Stdin
		}
		b, err := io.ReadAll(io.LimitReader(in, maxTokenInput+1))
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
		token = string(b)
	}
	token = strings.TrimPrefix(strings.TrimSpace(token), "Bearer ")
	switch {
	case token == "":
		return "", usageError{errors.New("no token: pass it on the standard input")}
	case len(token) > maxTokenInput:
		return "", fmt.Errorf("the token is longer than %d bytes", maxTokenInput)
	}
	return token, nil
}
