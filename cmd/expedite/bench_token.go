package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
	cli "github.com/expedite-go/expedite/internal/command"
)

// secretEnv is the variable with the secret of tokens.
const secretEnv = cli.SecretVariable

// benchTokenLife is the lifetime of a token, which is signed when its client connects.
const benchTokenLife = 24 * time.Hour

// tokens returns a function that returns the access token of a client, or nil if clients have none.
func (b *benchCmd) tokens() (func(client int) string, error) {
	switch {
	case b.Token != "":
		return func(int) string { return b.Token }, nil
	case b.TokenFile != "":
		text, err := os.ReadFile(b.TokenFile)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("--token-file: %w", err))
		}
		token := strings.TrimSpace(string(text))
		if token == "" {
			return nil, cli.Usage(fmt.Errorf("--token-file: %s is empty", b.TokenFile))
		}
		return func(int) string { return token }, nil
	case b.TokenKey == secretEnv:
		key := os.Getenv(secretEnv)
		if key == "" {
			return nil, cli.Usage(errors.New("--token-key: " + secretEnv + " is not set"))
		}
		return signer([]byte(key))
	case b.TokenKey != "":
		key, err := os.ReadFile(b.TokenKey)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("--token-key: %w", err))
		}
		return signer(key)
	}
	return nil, nil
}

// signer returns a function that signs a token for each client, with a secret or private key of `expedite token
// keygen`.
func signer(key []byte) (func(client int) string, error) {
	k, err := auth.ParsePrivateKey(key)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--token-key: %w", err))
	}
	return func(client int) string {
		now := time.Now()
		token, err := k.Sign(map[string]any{
			"sub": "bench-" + strconv.Itoa(client), "iat": now.Unix(), "exp": now.Add(benchTokenLife).Unix(),
		})
		if err != nil {
			return "" // the server refuses the client
		}
		return token
	}, nil
}
