package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// authSecretEnv is where the server's secret stands, too.
	authSecretEnv = "EXPEDITE_AUTH_SECRET"
	// benchTokenLife is how long a signed token lasts: it is made when its client connects.
	benchTokenLife = 24 * time.Hour
)

// tokens is how clients get their access token; nil is that they have none.
func (b *benchCmd) tokens() (func(client int) string, error) {
	switch {
	case b.Token != "":
		return func(int) string { return b.Token }, nil
	case b.TokenFile != "":
		token, err := secretFile("--token-file", b.TokenFile)
		return func(int) string { return token }, err
	case b.TokenKey == authSecretEnv:
		key := os.Getenv(authSecretEnv)
		if key == "" {
			return nil, usageError{errors.New("--token-key: " + authSecretEnv + " is not set")}
		}
		return signer(key), nil
	case b.TokenKey != "":
		key, err := secretFile("--token-key", b.TokenKey)
		return signer(key), err
	}
	return nil, nil
}

// secretFile reads a file that holds one word.
func secretFile(flag, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	s := strings.TrimSpace(string(text))
	if s == "" {
		return "", usageError{fmt.Errorf("%s: %s is empty", flag, path)}
	}
	return s, nil
}

// signer makes a token of its own for each client.
func signer(key string) func(client int) string {
	return func(client int) string {
		now := time.Now()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
			Subject: "bench-" + strconv.Itoa(client), IssuedAt: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(benchTokenLife)),
		}).SignedString([]byte(key))
		if err != nil {
			return "" // HS256 signs with any key
		}
		return token
	}
}
