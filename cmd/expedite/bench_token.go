package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// benchTokenLife is how long a signed token lasts: it is made when its client connects.
const benchTokenLife = 24 * time.Hour

// tokens is how clients get their access token; nil is that they have none.
func (b *benchCmd) tokens() (func(client int) string, error) {
	switch {
	case b.Token != "":
		return func(int) string { return b.Token }, nil
	case b.TokenFile != "":
		text, err := os.ReadFile(b.TokenFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("--token-file: %w", err)}
		}
		token := strings.TrimSpace(string(text))
		if token == "" {
			return nil, usageError{fmt.Errorf("--token-file: %s is empty", b.TokenFile)}
		}
		return func(int) string { return token }, nil
	case b.TokenKey == secretEnv:
		key := os.Getenv(secretEnv)
		if key == "" {
			return nil, usageError{errors.New("--token-key: " + secretEnv + " is not set")}
		}
		return signer([]byte(key))
	case b.TokenKey != "":
		key, err := os.ReadFile(b.TokenKey)
		if err != nil {
			return nil, usageError{fmt.Errorf("--token-key: %w", err)}
		}
		return signer(key)
	}
	return nil, nil
}

// signer makes a token of its own for each client, with a secret or a private key as expedite token keygen makes them.
func signer(key []byte) (func(client int) string, error) {
	k, err := auth.ParsePrivateKey(key)
	if err != nil {
		return nil, usageError{fmt.Errorf("--token-key: %w", err)}
	}
	return func(client int) string {
		now := time.Now()
		token, err := k.Sign(map[string]any{
			"sub": "bench-" + strconv.Itoa(client), "iat": now.Unix(), "exp": now.Add(benchTokenLife).Unix(),
		})
		if err != nil {
			return "" // the server says what it thinks of that
		}
		return token
	}, nil
}
