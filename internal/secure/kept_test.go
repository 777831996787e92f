package secure_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/secure"
)

// TestKept: a process whose files cannot be used takes what another one has kept of them, with each kind of key, and
// uses the files when they are repaired. Nobody tells a key.
func TestKept(t *testing.T) {
	a := certtest.New(t)
	for kind, pair := range map[string]certtest.Pair{
		"ECDSA": a.Issue("ecdsa", "one.test"), "Ed25519": a.IssueEd25519("ed25519", "one.test"),
		"RSA": a.IssueRSA("rsa", "one.test", 2048), "chain": a.Intermediate().Issue("below", "one.test"),
	} {
		for what, spoil := range map[string]func() error{
			"another key":    func() error { return copyFile(a.Issue("other", "x.test").Key, pair.Key) },
			"no certificate": func() error { return os.WriteFile(pair.Cert, []byte("x"), 0o600) },
			"no file":        func() error { return os.Remove(pair.Key) },
			"expired": func() error {
				return copyPair(a.IssueUntil("old", "one.test", time.Now().Add(-time.Hour)), pair)
			},
			"no authorities":    func() error { return os.WriteFile(a.CA, []byte("x"), 0o600) },
			"authorities' file": func() error { return os.Remove(a.CA) },
		} {
			t.Run(kind+", "+what, func(t *testing.T) {
				saved := restoreLater(t, pair.Cert, pair.Key, a.CA)
				var log strings.Builder
				c := secure.Config{
					Files: secure.Files{Pairs: []secure.KeyPair{files(pair)}, ClientCA: a.CA},
					Late:  true, Log: slog.New(slog.NewTextHandler(&log, nil)),
				}
				kept := newServer(t, c).Keep()
				if err := spoil(); err != nil {
					t.Fatal(err)
				}
				s := newServer(t, c)
				if s.Needs() == nil || (s.Unusable() == nil) != (what == "expired") {
					t.Fatalf("needs %v, unusable %v", s.Needs(), s.Unusable())
				}
				if err := s.Restore(kept); err != nil || s.Needs() != nil || s.Unusable() != nil {
					t.Fatalf("got %v, %v, %v", err, s.Needs(), s.Unusable())
				}
				cfg := &tls.Config{
					ServerName: "one.test", RootCAs: a.Pool, Certificates: []tls.Certificate{a.Issue("client", "alice").TLS},
				}
				if _, _, err := meet(t, s, cfg); err != nil {
					t.Error(err)
				}
				if _, _, err := meet(t, s, &tls.Config{ServerName: "one.test", RootCAs: a.Pool}); err == nil {
					t.Error("a client without a certificate comes in")
				}
				if s.Reread() == nil || s.Reread() == nil || strings.Count(log.String(), "level=ERROR") != 1 {
					t.Errorf("log: %s", log.String())
				}
				saved()
				if err := s.Reread(); err != nil || strings.Contains(log.String(), "read again") {
					t.Errorf("the same files again: %v, %s", err, log.String())
				}
			})
		}
	}
}

// restoreLater returns what writes files as they are now, and does that at the end of a test.
func restoreLater(t *testing.T, paths ...string) func() {
	t.Helper()
	contents := make(map[string][]byte)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents[path] = b
	}
	restore := func() {
		for path, b := range contents {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(restore)
	return restore
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func copyPair(from, to certtest.Pair) error {
	return errors.Join(copyFile(from.Cert, to.Cert), copyFile(from.Key, to.Key))
}

// TestKeptIsNoBetter: what was kept is not used for other files, nor instead of files that are valid, nor if clients
// refuse it as well.
func TestKeptIsNoBetter(t *testing.T) {
	a := certtest.New(t)
	of := func(p certtest.Pair) secure.Config {
		return secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(p)}}, Late: true}
	}
	one, two := a.Issue("one", "one.test"), a.Issue("two", "two.test")
	first, second := newServer(t, of(one)), newServer(t, of(two))
	if err := errors.Join(second.Restore(first.Keep()), second.Restore(nil)); err != nil {
		t.Error(err)
	}
	if _, _, err := meet(t, second, &tls.Config{ServerName: "two.test", RootCAs: a.Pool}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(two.Key); err != nil {
		t.Fatal(err)
	}
	late := newServer(t, of(two))
	if err := late.Restore(first.Keep()); err != nil || late.Unusable() == nil {
		t.Errorf("of other files: %v, %v", err, late.Unusable())
	}
	if _, _, err := meet(t, late, &tls.Config{ServerName: "two.test", InsecureSkipVerify: true}); err == nil {
		t.Error("a handshake without a certificate")
	}
	expired := newServer(t, of(a.IssueUntil("one", "one.test", time.Now().Add(-time.Hour))))
	again := newServer(t, of(one))
	if err := again.Restore(expired.Keep()); err != nil || again.Needs() == nil {
		t.Errorf("expired as well: %v, %v", err, again.Needs())
	}
	secret := string(first.Keep())
	if err := again.Restore([]byte(secret[:len(secret)-5])); err == nil || len(err.Error()) > 80 {
		t.Errorf("half of it: %v", err)
	}
}

// TestSucceed: files that clients refuse do not replace what they accept.
func TestSucceed(t *testing.T) {
	a := certtest.New(t)
	of := func(p certtest.Pair) *secure.Server {
		return newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(p)}}})
	}
	good, old := of(a.Issue("good", "one.test")), of(a.IssueUntil("old", "one.test", time.Now().Add(-time.Hour)))
	for _, tt := range []struct {
		what          string
		next          *secure.Server
		before        []byte
		wantsToRefuse bool
	}{
		{"valid after valid", good, good.Keep(), false},
		{"valid after expired", good, old.Keep(), false},
		{"expired after valid", old, good.Keep(), true},
		{"expired after expired", old, old.Keep(), false},
		{"expired, and nothing is known", old, nil, false},
	} {
		if err := tt.next.Succeed(tt.before); (err != nil) != tt.wantsToRefuse {
			t.Errorf("%s: got %v", tt.what, err)
		}
	}
}
