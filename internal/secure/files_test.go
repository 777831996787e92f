package secure_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/secure"
)

// TestKindsOfFiles: certificates with each kind of key, with intermediates, and with the line ends of Windows.
func TestKindsOfFiles(t *testing.T) {
	a := certtest.New(t)
	crlf := a.Issue("crlf", "one.test")
	for _, path := range []string{crlf.Cert, crlf.Key} {
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		pair  certtest.Pair
		kind  x509.PublicKeyAlgorithm
		chain int
	}{
		"ECDSA":             {a.Issue("ecdsa", "one.test"), x509.ECDSA, 1},
		"Ed25519":           {a.IssueEd25519("ed25519", "one.test"), x509.Ed25519, 1},
		"RSA":               {a.IssueRSA("rsa", "one.test", 3072), x509.RSA, 1},
		"CR and LF":         {crlf, x509.ECDSA, 1},
		"an intermediate":   {a.Intermediate().Issue("below", "one.test"), x509.ECDSA, 2},
		"two intermediates": {a.Intermediate().Intermediate().Issue("below", "one.test"), x509.ECDSA, 3},
	} {
		s := newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(c.pair)}}})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			_, state, err := meet(t, s, &tls.Config{ServerName: "one.test", RootCAs: a.Pool, MaxVersion: version})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := state.PeerCertificates; len(got) != c.chain || got[0].PublicKeyAlgorithm != c.kind {
				t.Errorf("%s: got %d certificates, the first with %v", name, len(got), got[0].PublicKeyAlgorithm)
			}
		}
	}
}

// TestSymlinks: files are replaced by other files behind symbolic links, at once by Kubernetes, and one after the other
// by certbot. What does not fit together for a moment is no error.
func TestSymlinks(t *testing.T) {
	a := certtest.New(t)
	dir := t.TempDir()
	version := func(name, host string) string {
		t.Helper()
		pair, to := a.Issue(name, host), filepath.Join(dir, name)
		err := errors.Join(os.Mkdir(to, 0o700), os.Rename(pair.Cert, filepath.Join(to, "tls.crt")),
			os.Rename(pair.Key, filepath.Join(to, "tls.key")))
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	link := func(target, name string) { // replaces it
		t.Helper()
		tmp := filepath.Join(dir, "tmp")
		if err := errors.Join(os.Symlink(target, tmp), os.Rename(tmp, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	link(version("..1", "one.test"), "..data")
	link("..data/tls.crt", "tls.crt")
	link("..data/tls.key", "tls.key")
	var log strings.Builder
	s := newServer(t, secure.Config{
		Files: secure.Files{Pairs: []secure.KeyPair{{
			Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"),
		}}}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	serves := func(host string, fits bool) {
		t.Helper()
		if err := s.Reread(); (err == nil) != fits {
			t.Errorf("read again: %v", err)
		}
		_, state, err := meet(t, s, &tls.Config{ServerName: host, InsecureSkipVerify: true})
		if err != nil || state.PeerCertificates[0].DNSNames[0] != host {
			t.Errorf("%s is not served: %v", host, err)
		}
	}
	serves("one.test", true)
	link(version("..2", "two.test"), "..data")
	serves("two.test", true)
	third := version("archive3", "three.test")
	link(third+"/tls.crt", "tls.crt")
	serves("two.test", false)
	link(third+"/tls.key", "tls.key")
	serves("three.test", true)
	if got := log.String(); strings.Contains(got, "level=ERROR") || strings.Count(got, "read again") != 2 {
		t.Errorf("got %s", got)
	}
}
