package secure_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/secure"
)

// put stores a certificate in a folder as that of a domain.
func put(t *testing.T, f certstore.Folder, domain string, p certtest.Pair) {
	t.Helper()
	if err := f.Write(domain, p.TLS.PrivateKey.(*ecdsa.PrivateKey), p.TLS.Certificate); err != nil {
		t.Fatal(err)
	}
}

// TestAutomaticNames: an automatic certificate is that of its name, the pairs are for all other names, and without
// pairs these are refused. A name that has no certificate yet has that of the pairs, or none.
func TestAutomaticNames(t *testing.T) {
	a, f := certtest.New(t), certstore.Folder(t.TempDir())
	pair := files(a.Issue("pair", "pair.test"))
	put(t, f, "one.test", a.Issue("one", "one.test"))
	put(t, f, "two.test", a.Issue("two", "two.test"))
	auto := secure.Auto{Folder: f, Domains: []string{"late.test", "one.test", "two.test"}}
	for _, tt := range []struct {
		pairs []secure.KeyPair
		want  map[string]string // no certificate: an alert
	}{
		{nil, map[string]string{
			"one.test": "one.test", "TWO.Test": "two.test", "": "one.test", "late.test": "", "pair.test": "", "x.one.test": "",
		}},
		{[]secure.KeyPair{pair}, map[string]string{
			"one.test": "one.test", "two.test": "two.test", "": "pair.test", "late.test": "pair.test", "x": "pair.test",
		}},
	} {
		for _, loop := range []bool{true, false} {
			s := newServer(t, secure.Config{Loop: loop, Files: secure.Files{Pairs: tt.pairs, Auto: auto}})
			for ask, want := range tt.want {
				_, state, err := meet(t, s, &tls.Config{ServerName: ask, InsecureSkipVerify: true})
				switch {
				case want == "" && (err == nil || !strings.Contains(err.Error(), "unrecognized name")):
					t.Errorf("%q: got %v, want an alert", ask, err)
				case want != "" && (err != nil || state.PeerCertificates[0].DNSNames[0] != want):
					t.Errorf("%q: got %v, want %s", ask, err, want)
				}
			}
		}
	}
}

// TestAutomaticNone: the error of a client for which there is no certificate says whether it can come yet, and the alert
// is the same.
func TestAutomaticNone(t *testing.T) {
	a, empty, some := certtest.New(t), certstore.Folder(t.TempDir()), certstore.Folder(t.TempDir())
	put(t, some, "one.test", a.Issue("one", "one.test"))
	for _, tt := range []struct {
		folder     certstore.Folder
		name, want string
	}{
		{empty, "one.test", "no certificate of one.test has been obtained yet"},
		{empty, "other.test", "no certificate has been obtained yet"},
		{empty, "", "no certificate has been obtained yet"},
		{some, "late.test", "no certificate of late.test has been obtained yet"},
		{some, "other.test", `no certificate has the name that the client asks for: "other.test"`},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := newServer(t, secure.Config{Files: secure.Files{
				Auto: secure.Auto{Folder: tt.folder, Domains: []string{"one.test", "late.test"}},
			}})
			_, _, err := meet(t, s, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, MaxVersion: version})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%q: got %v, want %s", tt.name, err, tt.want)
			}
			if n := s.Counts()["failed"]; n != 1 {
				t.Errorf("%q: %d handshakes have failed, want 1", tt.name, n)
			}
		}
	}
}

// TestAutomaticFilesChange: certificates that come are used, each for itself. What cannot be used is told once, and
// changes nothing.
func TestAutomaticFilesChange(t *testing.T) {
	a, f := certtest.New(t), certstore.Folder(t.TempDir())
	var log strings.Builder
	s := newServer(t, secure.Config{
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
		Files: secure.Files{Auto: secure.Auto{Folder: f, Domains: []string{"one.test", "two.test"}}},
	})
	serves := func(what, name, serial string) {
		t.Helper()
		_, state, err := meet(t, s, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		got := "none"
		if err == nil {
			got = state.PeerCertificates[0].SerialNumber.String()
		}
		if got != serial {
			t.Errorf("%s: %s has the certificate %s, %v, want %s", what, name, got, err, serial)
		}
	}
	serial := func(p certtest.Pair) string { return p.TLS.Leaf.SerialNumber.String() }
	if err := s.Reread(); err != nil || log.Len() > 0 || !s.Expires().IsZero() {
		t.Errorf("nothing is there: %v, %s", err, log.String())
	}
	serves("nothing is there", "one.test", "none")

	first := a.Issue("one", "one.test")
	put(t, f, "one.test", first)
	if err := os.WriteFile(f.Path("two.test"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Reread(); err == nil || !strings.Contains(err.Error(), f.Path("two.test")) {
			t.Errorf("got %v", err)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
	serves("the first one", "one.test", serial(first))
	serves("a bad file", "two.test", "none")

	put(t, f, "one.test", a.IssueUntil("one", "one.test", time.Now().Add(-time.Minute)))
	expired := a.IssueUntil("two", "two.test", time.Now().Add(-time.Minute))
	put(t, f, "two.test", expired)
	if err := s.Reread(); err != nil {
		t.Error(err)
	}
	serves("one that has expired does not replace one that is valid", "one.test", serial(first))
	serves("one that has expired is better than none", "two.test", serial(expired))
	second := a.Issue("two", "two.test")
	put(t, f, "two.test", second)
	if err := s.Reread(); err != nil || !s.Expires().Equal(second.TLS.Leaf.NotAfter) && !s.Expires().Equal(first.TLS.Leaf.NotAfter) {
		t.Errorf("got %v, %s", err, s.Expires())
	}
	serves("a valid one", "two.test", serial(second))
}

// TestAutomaticWatch: a certificate that comes is used within seconds, without Reread.
func TestAutomaticWatch(t *testing.T) {
	a, f := certtest.New(t), certstore.Folder(t.TempDir())
	s := newServer(t, secure.Config{Files: secure.Files{Auto: secure.Auto{Folder: f, Domains: []string{"one.test"}}}})
	done := make(chan struct{})
	go func() { // ends with Close
		defer close(done)
		s.Watch()
	}()
	defer func() {
		s.Close()
		<-done
	}()
	put(t, f, "one.test", a.Issue("one", "one.test"))
	for deadline := time.After(20 * time.Second); s.Expires().IsZero(); {
		select {
		case <-deadline:
			t.Fatal("the certificate is not used")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestChallenge: an authority is answered with the certificate in the folder, whatever clients need, and its connection
// ends with the handshake. A name that is not ours, or has no challenge, gets an alert.
func TestChallenge(t *testing.T) {
	a, f := certtest.New(t), certstore.Folder(t.TempDir())
	answer := a.Issue("answer", "one.test").TLS
	if err := errors.Join(f.WriteToken("one.test", &answer), f.WriteToken("other.test", &answer)); err != nil {
		t.Fatal(err)
	}
	put(t, f, "one.test", a.Issue("one", "one.test"))
	auto := secure.Auto{Folder: f, Domains: []string{"one.test", "two.test"}}
	for _, c := range []secure.Config{
		{}, {Loop: true}, {MinVersion: tls.VersionTLS13}, {Loop: true, Files: secure.Files{ClientCA: a.CA}},
	} {
		c.Auto = auto
		s := newServer(t, c)
		ask := func(name string, version uint16, protocols ...string) (*tls.Conn, tls.ConnectionState, error) {
			ours, theirs := tcpPair(t)
			wrapped, done := s.Wrap(theirs, nil), make(chan error, 1)
			go func() { // ends with the handshake
				h, err := wrapped.(reactor.Handshaker).Handshake()
				if err == nil || h != nil {
					t.Errorf("%s: the connection goes on", name)
				}
				if quiet := errors.Is(err, net.ErrClosed); quiet != (name == "one.test") {
					t.Errorf("%s: got %v: what was verified is no failure", name, err)
				}
				_ = wrapped.Close()
				done <- err
			}()
			client := tls.Client(ours, &tls.Config{
				ServerName: name, InsecureSkipVerify: true, MaxVersion: version, NextProtos: protocols,
			})
			err := client.Handshake()
			if err != nil {
				_ = ours.Close()
			}
			<-done
			return client, client.ConnectionState(), err
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client, state, err := ask("one.test", version, "acme-tls/1")
			if err != nil || state.NegotiatedProtocol != "acme-tls/1" || !state.PeerCertificates[0].Equal(answer.Leaf) {
				t.Errorf("version %#x: got %+v, %v", version, state, err)
				continue
			}
			if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("version %#x: after the handshake: %d bytes, %v", version, n, err)
			}
		}
		for _, name := range []string{"two.test", "other.test", "../one.test"} {
			if _, _, err := ask(name, 0, "acme-tls/1"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if n := s.Counts(); n["challenge"] != 2 || n["1.2"]+n["1.3"] != 0 || n["failed"] != 3 {
			t.Errorf("got %v", n)
		}
	}
	plain := newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(a.Issue("p", "one.test"))}}})
	_, _, err := meet(t, plain, &tls.Config{ServerName: "one.test", RootCAs: a.Pool, NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		t.Error("a server without automatic certificates takes part in a challenge")
	}
	_, state, err := meet(t, newServer(t, secure.Config{Files: secure.Files{Auto: auto}}), &tls.Config{
		ServerName: "one.test", RootCAs: a.Pool, NextProtos: []string{"acme-tls/1", "http/1.1"},
	})
	if err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("a client that offers more: got %q, %v", state.NegotiatedProtocol, err)
	}
}

// TestAnswer: the answer to http-01 is found by its path, and nothing else in the folder is.
func TestAnswer(t *testing.T) {
	f := certstore.Folder(filepath.Join(t.TempDir(), "certificates"))
	if err := f.WriteAnswer("token", "answer"); err != nil {
		t.Fatal(err)
	}
	put(t, f, "one.test", certtest.New(t).Issue("one", "one.test"))
	s := newServer(t, secure.Config{Files: secure.Files{Auto: secure.Auto{Folder: f, Domains: []string{"one.test"}}}})
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/token": "answer", "/.well-known/acme-challenge/": "", "/token": "", "token": "",
		"/.well-known/acme-challenge/one.test": "", "/.well-known/acme-challenge/../one.test": "",
		"/.well-known/acme-challenge/token/": "", "/.well-known/acme-challenge/Token": "",
	} {
		if got := s.Answer(path); string(got) != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	off := newServer(t, secure.Config{Files: secure.Files{Auto: secure.Auto{Folder: f}}})
	if got := off.Answer("/.well-known/acme-challenge/token"); got != nil {
		t.Errorf("without domains: got %q", got)
	}
}
