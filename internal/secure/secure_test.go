package secure_test

import (
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

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/internal/ratchet"
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/secure"
)

// files names the files of a pair.
func files(p certtest.Pair) secure.KeyPair { return secure.KeyPair{Cert: p.Cert, Key: p.Key} }

func newServer(t *testing.T, c secure.Config) *secure.Server {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := secure.NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// meet connects a client with a server. It returns the client after its handshake, and the result of the server's.
func meet(t *testing.T, s *secure.Server, cfg *tls.Config) (client *tls.Conn, state tls.ConnectionState, err error) {
	t.Helper()
	a, b := tcpPair(t)
	wrapped := s.Wrap(b, nil)
	done := make(chan error, 1)
	go func() { // ends with the handshake
		_, err := wrapped.(reactor.Handshaker).Handshake()
		if err == nil {
			_, err = wrapped.Write([]byte{7}) // behind the tickets
		}
		done <- err
	}()
	client = tls.Client(a, cfg)
	errClient := client.Handshake()
	if errClient != nil {
		_ = a.Close()
	}
	if err := errors.Join(errClient, <-done); err != nil {
		return nil, tls.ConnectionState{}, err
	}
	return client, client.ConnectionState(), nil
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// TestServerNames: the certificate is that of the name that a client asks for, or the first one.
func TestServerNames(t *testing.T) {
	a := certtest.New(t)
	s := newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{
		files(a.Issue("one", "one.test")), files(a.Issue("two", "two.test")),
	}}})
	for ask, want := range map[string]string{"one.test": "one.test", "two.test": "two.test", "three.test": "one.test"} {
		_, state, err := meet(t, s, &tls.Config{ServerName: ask, InsecureSkipVerify: true})
		if err != nil || state.PeerCertificates[0].DNSNames[0] != want {
			t.Errorf("%s: got %v, %v", ask, state.PeerCertificates, err)
		}
	}
}

// TestFilesChange: other files are used from the next handshake on, if they are valid, and kept out if not.
func TestFilesChange(t *testing.T) {
	a := certtest.New(t)
	var log strings.Builder
	pair := files(a.Issue("one", "one.test"))
	s := newServer(t, secure.Config{
		Files: secure.Files{Pairs: []secure.KeyPair{pair}}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	serves := func(host string) {
		t.Helper()
		_, state, err := meet(t, s, &tls.Config{ServerName: host, InsecureSkipVerify: true})
		if err != nil || state.PeerCertificates[0].DNSNames[0] != host {
			t.Errorf("%s is not served: %v", host, err)
		}
	}
	if err := s.Reread(); err != nil || log.Len() > 0 {
		t.Errorf("nothing has changed: %v, %s", err, log.String())
	}
	a.Issue("one", "two.test")
	if err := s.Reread(); err != nil {
		t.Error(err)
	}
	serves("two.test")
	log.Reset()
	for what, spoil := range map[string]func(){
		"a key of another certificate": func() { a.Issue("one", "x.test"); a.Issue("other", "y.test") },
		"no certificate":               func() { _ = os.WriteFile(pair.Cert, []byte("x"), 0o600) },
		"a certificate that has expired": func() {
			a.IssueUntil("one", "x.test", time.Now().Add(-time.Hour))
		},
		"no file": func() { _ = os.Remove(pair.Key) },
	} {
		spoil()
		if what == "a key of another certificate" {
			key, err := os.ReadFile(filepath.Join(a.Dir, "other.key"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(pair.Key, key, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		log.Reset()
		if err := s.Reread(); err == nil || log.Len() > 0 {
			t.Errorf("%s: got %v, log %q", what, err, log.String())
		}
		if err := s.Reread(); err == nil || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s, still: got %v, log %q", what, err, log.String())
		}
		if err := s.Reread(); err == nil || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: told again: %v, log %q", what, err, log.String())
		}
		serves("two.test")
		a.Issue("one", "two.test")
		if err := s.Reread(); err != nil {
			t.Error(err)
		}
	}
	a.Issue("one", "three.test")
	if err := s.Reread(); err != nil {
		t.Error(err)
	}
	serves("three.test")
}

// TestBadFiles: a server does not start with files that it cannot use, and names them. It starts with a certificate
// that has expired: that is for its clients to judge.
func TestBadFiles(t *testing.T) {
	a := certtest.New(t)
	good, other := files(a.Issue("good", "good.test")), files(a.Issue("other", "other.test"))
	secret := files(a.Issue("secret", "secret.test"))
	lock(t, secret.Key)
	for what, of := range map[string]secure.Files{
		"gone.pem":             {Pairs: []secure.KeyPair{{Cert: filepath.Join(a.Dir, "gone.pem"), Key: good.Key}}},
		"has a passphrase: re": {Pairs: []secure.KeyPair{secret}},
		"does not match":       {Pairs: []secure.KeyPair{{Cert: good.Cert, Key: other.Key}}},
		"has no certificate":   {Pairs: []secure.KeyPair{good}, ClientCA: good.Key},
		"is not a file of at":  {Pairs: []secure.KeyPair{{Cert: a.Dir, Key: good.Key}}},
		"failed to find any P": {Pairs: []secure.KeyPair{{Cert: write(t, a.Dir), Key: good.Key}}},
	} {
		if _, err := secure.NewServer(secure.Config{Files: of}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	s := newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{
		files(a.IssueUntil("old", "old.test", time.Now().Add(-time.Minute))),
	}}})
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "old.pem: the certificate of old.test has expired") {
		t.Errorf("got %v", err)
	}
}

// lock puts a key with a passphrase into a file.
func lock(t *testing.T, path string) {
	const kind = "ENCRYPTED PRIVATE KEY-----\n"
	if err := os.WriteFile(path, []byte("-----BEGIN "+kind+"MAA=\n-----END "+kind), 0o600); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir string) string {
	path := filepath.Join(dir, "text")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestClientCertificates: with a ClientCA, a client has to present a certificate of it.
func TestClientCertificates(t *testing.T) {
	a, stranger := certtest.New(t), certtest.New(t)
	s := newServer(t, secure.Config{Files: secure.Files{
		Pairs: []secure.KeyPair{files(a.Issue("one", "one.test"))}, ClientCA: a.CA,
	}})
	for what, issuer := range map[string]*certtest.Authority{"ours": a, "another one's": stranger, "none": nil} {
		cfg := &tls.Config{ServerName: "one.test", RootCAs: a.Pool}
		if issuer != nil {
			cfg.Certificates = []tls.Certificate{issuer.Issue("client", "alice").TLS}
		}
		if _, _, err := meet(t, s, cfg); (err == nil) != (what == "ours") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := s.Counts(); n["1.3"] != 1 || n["failed"] != 2 {
		t.Errorf("counts %v", n)
	}
}

// TestOperators: another server has the current certificate, demands none of its clients, and gives them no tickets.
func TestOperators(t *testing.T) {
	a := certtest.New(t)
	s := newServer(t, secure.Config{Files: secure.Files{
		Pairs: []secure.KeyPair{files(a.Issue("one", "one.test"))}, ClientCA: a.CA,
	}})
	cfg := s.Operators()
	cache := tls.NewLRUClientSessionCache(2)
	for range 2 {
		for _, host := range []string{"one.test", "two.test"} {
			a.Issue("one", host)
			if err := s.Reread(); err != nil {
				t.Fatal(err)
			}
			client, server := tcpPair(t)
			go func() { // ends with the test's connections
				conn := tls.Server(server, cfg)
				_, _ = conn.Write([]byte("x"))
			}()
			conn := tls.Client(client, &tls.Config{ServerName: host, RootCAs: a.Pool, ClientSessionCache: cache})
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); err != nil || conn.ConnectionState().DidResume {
				t.Errorf("%s: got %v, resumed %v", host, err, conn.ConnectionState().DidResume)
			}
		}
	}
}

// TestTickets: a client resumes its session at another server with the same Ratchet, and not with another one, nor with
// other authorities for its certificate.
func TestTickets(t *testing.T) {
	a := certtest.New(t)
	of := secure.Files{Pairs: []secure.KeyPair{files(a.Issue("one", "one.test"))}}
	first, second, third := newServer(t, secure.Config{Files: of}), newServer(t, secure.Config{Files: of}),
		newServer(t, secure.Config{Files: of})
	shared := ratchet.New(time.Now())
	first.SetTickets(shared)
	copied, err := ratchet.Parse(shared.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	second.SetTickets(copied)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{
			ServerName: "one.test", RootCAs: a.Pool, ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version,
		}
		visit := func(s *secure.Server) bool { t.Helper(); return resumes(t, s, cfg) }
		if visit(first) || !visit(first) || !visit(second) || visit(third) {
			t.Errorf("version %#x: sessions resume where they must not, or do not where they should", version)
		}
	}
}

// resumes visits s, takes a ticket along, and reports whether an earlier one was accepted.
func resumes(t *testing.T, s *secure.Server, cfg *tls.Config) bool {
	t.Helper()
	client, state, err := meet(t, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil { // reads the tickets, too
		t.Fatal(err)
	}
	return state.DidResume
}

// TestTicketsAtMidnight: sessions resume across midnight at all servers, also where the clock is a little behind, and
// not for ever. Keys change although the files of certificates are gone.
func TestTicketsAtMidnight(t *testing.T) {
	a := certtest.New(t)
	pair := a.IssueUntil("one", "one.test", time.Now().Add(100*time.Hour))
	clock := fakeclock.New()
	midnight := time.Now().Truncate(24 * time.Hour).Add(24 * time.Hour) // within the days of the certificate
	late := fakeclock.New()                                             // of the second server
	for _, c := range []*fakeclock.Clock{clock, late} {
		c.Advance(midnight.Add(-time.Minute).Sub(c.Now()))
	}
	of := secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(pair)}}, Now: clock.Now}
	first := newServer(t, of)
	of.Now = late.Now
	second := newServer(t, of)
	shared := ratchet.New(clock.Now())
	copied, err := ratchet.Parse(shared.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	first.SetTickets(shared)
	second.SetTickets(copied)
	cfg := &tls.Config{ServerName: "one.test", RootCAs: a.Pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if resumes(t, first, cfg) || !resumes(t, second, cfg) {
		t.Error("before midnight: want a new session at the first server, and the same at the second")
	}
	clock.Advance(2 * time.Minute)
	if err := first.Reread(); err != nil {
		t.Fatal(err)
	}
	if !resumes(t, first, cfg) || !resumes(t, second, cfg) {
		t.Error("after midnight at one server: the session does not resume everywhere")
	}
	late.Advance(2 * time.Minute)
	if err := errors.Join(second.Reread(), os.Remove(pair.Cert)); err != nil {
		t.Fatal(err)
	}
	if !resumes(t, second, cfg) || !resumes(t, first, cfg) {
		t.Error("after midnight: the session does not resume everywhere")
	}
	for range 2 { // each day
		clock.Advance(24 * time.Hour)
		if err := first.Reread(); err == nil {
			t.Fatal("the file of the certificate is gone: want an error")
		}
	}
	if resumes(t, first, cfg) {
		t.Error("a session of the day before yesterday resumes")
	}
}

// TestPlainClient: a client that speaks HTTP is told its mistake.
func TestPlainClient(t *testing.T) {
	a := certtest.New(t)
	s := newServer(t, secure.Config{Files: secure.Files{Pairs: []secure.KeyPair{files(a.Issue("one", "one.test"))}}})
	client, server := tcpPair(t)
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Wrap(server, nil).(reactor.Handshaker).Handshake()
	_ = server.Close()
	answer, _ := io.ReadAll(client)
	if !errors.Is(err, secure.ErrNotTLS) || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") ||
		!strings.HasSuffix(string(answer), "use https:// or wss:// to reach it\n") || s.Counts()["not_tls"] != 1 {
		t.Errorf("got %v, %q, %v", err, answer, s.Counts())
	}
}

// TestHand: what is handed to the event loop continues after the tickets, with all versions that it takes, and with
// what the client has sent behind its handshake.
func TestHand(t *testing.T) {
	a := certtest.New(t)
	s := newServer(t, secure.Config{Loop: true, Files: secure.Files{Pairs: []secure.KeyPair{
		files(a.Issue("one", "one.test")),
	}}})
	cache := tls.NewLRUClientSessionCache(1)
	for _, resumes := range []bool{false, true} {
		ours, theirs := tcpPair(t)
		client := tls.Client(ours, &tls.Config{ServerName: "one.test", RootCAs: a.Pool, ClientSessionCache: cache})
		sent := make(chan error, 1)
		go func() { // ends with the write
			_, err := client.Write([]byte("hello"))
			sent <- err
		}()
		h, err := s.Wrap(theirs, nil).(reactor.Handshaker).Handshake()
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		if h == nil || h.State.DidResume != resumes {
			t.Fatalf("got %+v, want it resumed: %v", h, resumes)
		}
		record := h.Ahead
		for len(record) < 5 || len(record) < 5+int(record[4]) {
			b := make([]byte, 100)
			n, err := theirs.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			record = append(record, b[:n]...)
		}
		got, _, err := h.Reader.Open(nil, record)
		if err != nil || string(got) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
		answer, _, err := h.Writer.Append(nil, [][]byte{[]byte("answer")}, 6)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Write(answer); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(client, b); err != nil || string(b) != "answer" {
			t.Errorf("the client reads %q, %v", b, err)
		}
	}
}
