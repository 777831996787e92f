package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRevocationsSurvive checks that revocations are in force after kill -9, even those made after a reload; that a
// torn end of the file loses nothing else; and that a second server with the folder fails, and names the first.
func TestRevocationsSurvive(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "state")
	begin := func() *server {
		return serveSecret(t, "--workers", "1", "--auth", "required", "--state-dir", dir)
	}
	wantOwner := func(s *server, when string) {
		t.Helper()
		out, err := exec.Command(command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control",
			filepath.Join(t.TempDir(), "second"), "--state-dir", dir).CombinedOutput()
		if err == nil || !strings.Contains(string(out), fmt.Sprint("process ", s.cmd.Process.Pid)) {
			t.Errorf("a second server %s: got %v: %s", when, err, out)
		}
	}
	run := func(s *server, args ...string) {
		t.Helper()
		if out, err := s.expedite(args...); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	s := begin()
	run(s, "revoke", "--user", "mallory", "--for", "1h")
	wantOwner(s, "at the beginning")
	run(s, "reload")
	wantOwner(s, "after a reload")
	run(s, "revoke", "--token-id", "t1", "--for", "1h")
	for range 2 {
		s.signal(syscall.SIGKILL)
		s.waitEnd()
		f, err := os.OpenFile(filepath.Join(dir, "revocations"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("\xe7\x0a\x20\x00\x00\x00torn"); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		s = begin()
		for _, bad := range []string{tokenFor(t, "mallory", "m1", time.Hour, nil), tokenFor(t, "bob", "t1", time.Hour, nil)} {
			if _, err := s.dial(ctx, "/?access_token="+bad); err == nil {
				t.Error("what was revoked comes in after kill -9")
			}
		}
		s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "t2", time.Hour, nil))
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, want nobody else to read it", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestStateDirMoves checks that a reload with another folder takes the revocations along, and that a folder that cannot
// be used is refused before anything is replaced.
func TestStateDirMoves(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	first, second, file := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "e.yaml")
	configure := func(dir string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("state-dir: "+dir+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(first)
	s := serveSecret(t, "--workers", "1", "--auth", "required", "--config", file)
	if out, err := s.expedite("revoke", "--user", "mallory", "--for", "1h"); err != nil {
		t.Fatalf("revoke: %v: %s", err, out)
	}
	configure(filepath.Join(file, "below-a-file"))
	if out, err := s.expedite("reload"); err == nil || !strings.Contains(out, "StateDir") {
		t.Errorf("a folder that cannot be: got %v: %s", err, out)
	}
	configure(second)
	if out, err := s.expedite("reload"); err != nil {
		t.Fatalf("reload: %v: %s", err, out)
	}
	s.signal(syscall.SIGKILL)
	s.waitEnd()
	s = serveSecret(t, "--workers", "1", "--auth", "required", "--state-dir", second)
	if _, err := s.dial(ctx, "/?access_token="+tokenFor(t, "mallory", "m1", time.Hour, nil)); err == nil {
		t.Error("what was revoked comes in")
	}
}
