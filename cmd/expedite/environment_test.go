package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/configfile"
	"github.com/expedite-go/expedite/internal/settings"
)

// TestPrecedence checks that flags override the environment, which overrides the file, also for PORT and REDIS_URL, and
// that empty variables do not count. Each setting is invalid in its own way, so that the error shows which one was
// used; no server is started.
func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		name       string
		file       string
		env        []string
		args       []string
		says, nots string
	}{
		{"PORT and no address", "", []string{"PORT=nine"}, nil, `PORT: "nine"`, ""},
		{"PORT and the file", "addr: file", []string{"PORT=nine"}, nil, `PORT: "nine"`, "file"},
		{"PORT and EXPEDITE_ADDR", "addr: file", []string{"PORT=nine", "EXPEDITE_ADDR=env"}, nil, `EXPEDITE_ADDR: "env"`, "nine"},
		{"PORT and the flag with the default", "", []string{"PORT=nine"}, []string{"--addr", ":8080", "--workers", "x"}, "--workers", "nine"},
		{"EXPEDITE_ADDR and the flag", "", []string{"EXPEDITE_ADDR=env"}, []string{"--addr", "flag"}, `--addr: "flag"`, "env"},
		{"an empty PORT", "addr: file", []string{"PORT="}, nil, `"file"`, ""},
		{"an empty EXPEDITE_ADDR", "addr: file", []string{"EXPEDITE_ADDR="}, nil, `"file"`, ""},
		{"an empty EXPEDITE_AUTH", "auth: required", []string{"EXPEDITE_AUTH="}, nil, "expedite.yaml:1: auth: required wants a key", ""},
		{"REDIS_URL and the file", "redis: redis://127.0.0.1:1", []string{"REDIS_URL=env://"}, []string{"--addr", "127.0.0.1:0"}, "unknown scheme", ""},
		{"an empty REDIS_URL", "require-redis: true", []string{"REDIS_URL="}, nil, "expedite.yaml:1: require-redis: wants", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, configfile.Default), []byte(tt.file+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"serve", "--admin", "off", "--control", "off"}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, command, append(args, tt.args...)...)
			cmd.Dir = dir
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
				return strings.HasPrefix(kv, "PORT=") || strings.HasPrefix(kv, "REDIS_URL=") || strings.HasPrefix(kv, settings.Prefix)
			}), tt.env...)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.says) || tt.nots != "" && strings.Contains(string(out), tt.nots) {
				t.Errorf("got %v, %q; want an error with %s and without %q", err, out, tt.says, tt.nots)
			}
		})
	}
}
