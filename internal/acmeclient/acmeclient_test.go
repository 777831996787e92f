package acmeclient

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/certtest"
)

// TestRenewAt: certificates are renewed when a third of their lifetime is left, short ones at half of it, and up to an
// hour earlier, at a time that does not change.
func TestRenewAt(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ life, at, early time.Duration }{
		{90 * 24 * time.Hour, 60 * 24 * time.Hour, time.Hour},
		{47 * 24 * time.Hour, 47 * 16 * time.Hour, time.Hour},
		{160 * time.Hour, 80 * time.Hour, time.Hour},
		{6 * time.Hour, 3 * time.Hour, 18 * time.Minute},
		{0, 0, 0},
	} {
		times := make(map[time.Time]bool)
		for i := range 20 {
			leaf := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(tt.life), Raw: []byte{byte(i)}}
			at := RenewAt(leaf)
			times[at] = true
			if at.After(begin.Add(tt.at)) || at.Before(begin.Add(tt.at-tt.early)) || at != RenewAt(leaf) {
				t.Errorf("a lifetime of %s: renewed after %s, want %s or up to %s earlier", tt.life, at.Sub(begin), tt.at, tt.early)
			}
		}
		if tt.life > 0 && len(times) < 10 {
			t.Errorf("a lifetime of %s: all at the same time: %v", tt.life, times)
		}
	}
}

// limited is the error of an authority whose limit is reached.
func limited(after string) error {
	return &acme.Error{
		StatusCode: http.StatusTooManyRequests, ProblemType: "urn:ietf:params:acme:error:rateLimited",
		Header: http.Header{"Retry-After": {after}},
	}
}

// TestPause: faults are tried again soon, refusals later and later, and never sooner than the authority wants.
func TestPause(t *testing.T) {
	fault, refusal := errors.New("no network"), fmt.Errorf("x: %w", &acme.AuthorizationError{})
	for _, tt := range []struct {
		err                     error
		refusals, faults, kinds int
		want                    time.Duration
	}{
		{fault, 0, 1, 1, time.Second},
		{fault, 7, 2, 1, 2 * time.Second},
		{fault, 0, 9, 1, 256 * time.Second},
		{fault, 0, 10, 1, 5 * time.Minute},
		{fault, 0, 10000, 1, 5 * time.Minute},
		{&acme.Error{StatusCode: http.StatusBadGateway}, 0, 3, 1, 4 * time.Second},
		{refusal, 1, 50, 1, 2 * time.Minute},
		{refusal, 2, 0, 1, 4 * time.Minute},
		{refusal, 100, 0, 1, 6 * time.Hour},
		{refusal, 1, 0, 2, time.Second},
		{refusal, 2, 0, 2, 2 * time.Minute},
		{refusal, 3, 0, 2, 4 * time.Minute},
		{&acme.OrderError{}, 1, 0, 1, 2 * time.Minute},
		{errStale, 1, 0, 1, 2 * time.Minute},
		{errNoChallenge, 1, 0, 1, 2 * time.Minute},
		{&acme.Error{StatusCode: http.StatusForbidden}, 3, 0, 1, 8 * time.Minute},
		{limited("3600"), 1, 0, 1, time.Hour},
		{limited("3600"), 1, 0, 2, time.Hour},
		{limited("1"), 3, 0, 2, 8 * time.Minute},
		{limited("99999999"), 1, 0, 1, 24 * time.Hour},
		{limited(""), 1, 0, 2, 2 * time.Minute},
	} {
		if got := pause(tt.err, tt.refusals, tt.faults, tt.kinds); got != tt.want {
			t.Errorf("%v after %d refusals and %d faults, %d kinds: got %s, want %s",
				tt.err, tt.refusals, tt.faults, tt.kinds, got, tt.want)
		}
	}
}

// TestLimitOfValidations: what a domain that the authority cannot reach costs stays within the limit of Let's Encrypt:
// five failed validations, and one more every twelve minutes.
func TestLimitOfValidations(t *testing.T) {
	for kinds := 1; kinds <= 2; kinds++ {
		var at time.Duration
		d := new(domain)
		for n := range 20 {
			if allowed := 5 + int(at/(12*time.Minute)); n+1 > allowed {
				t.Errorf("%d kinds: validation %d after %s", kinds, n+1, at)
			}
			kind := d.kind
			at += d.failed(&acme.AuthorizationError{}, kinds)
			if kinds == 2 && kind == d.kind {
				t.Error("the other challenge is not tried")
			}
		}
	}
}

// TestReason: the same cause has the same text, although each connection has a port of its own.
func TestReason(t *testing.T) {
	peer := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}
	of := func(port int) string {
		return reason(fmt.Errorf("Get: %w", &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Addr: peer, Err: os.ErrDeadlineExceeded,
		}))
	}
	if of(1) != of(2) || !strings.Contains(of(1), "read 192.0.2.1:443: i/o timeout") {
		t.Errorf("got %q and %q", of(1), of(2))
	}
	if got := reason(fmt.Errorf("Get: %w", x509.UnknownAuthorityError{})); !strings.Contains(got, "SSL_CERT_FILE") {
		t.Errorf("got %q", got)
	}
	if got := reason(errStale); got != errStale.Error() {
		t.Errorf("got %q", got)
	}
}

// syncBuilder is a log.
type syncBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *syncBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *syncBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

// await waits until a condition holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// nobody is the URL of an authority that is away: nobody can listen on port 0.
const nobody = "https://127.0.0.1:0/dir"

// TestUnreachable: an authority that is away is tried again, which is logged once, and nothing is lost by it.
func TestUnreachable(t *testing.T) {
	log := new(syncBuilder)
	a := New(Config{
		Folder: certstore.Folder(t.TempDir()), Domains: []string{"one.test"}, Directory: nobody,
		Challenges: []string{TLSALPN01}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	defer a.Start()()
	await(t, "it was tried twice", func() bool { return a.Statuses()[0].Failures >= 2 })
	s := a.Statuses()[0]
	if s.Domain != "one.test" || !s.Expires.IsZero() || !strings.Contains(s.Cause, "cannot be reached") {
		t.Errorf("got %+v", s)
	}
	if issued, failed := a.Counts(); issued != 0 || failed < 2 {
		t.Errorf("got %d and %d", issued, failed)
	}
	if n := strings.Count(log.String(), "certificate not obtained"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
}

// TestNothingToDo: with valid certificates, nobody is asked, and one of two processes with the same folder waits.
func TestNothingToDo(t *testing.T) {
	f := certstore.Folder(t.TempDir())
	p := certtest.New(t).IssueUntil("x", "one.test", time.Now().Add(365*24*time.Hour))
	if err := f.Write("one.test", p.TLS.PrivateKey.(*ecdsa.PrivateKey), p.TLS.Certificate); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Folder: f, Domains: []string{"one.test"}, Directory: nobody, Challenges: []string{TLSALPN01},
		Log: slog.New(slog.DiscardHandler),
	}
	first, second := New(cfg), New(cfg)
	stop := first.Start()
	await(t, "the first one has looked", func() bool { return !first.Statuses()[0].Next.IsZero() })
	defer second.Start()()
	await(t, "the second one has looked", func() bool { return !second.Statuses()[0].Expires.IsZero() })
	s := second.Statuses()[0]
	if !s.Next.IsZero() || !s.Expires.Equal(p.TLS.Leaf.NotAfter) {
		t.Errorf("the second one: got %+v", s)
	}
	if s := first.Statuses()[0]; s.Failures != 0 || !s.Next.Equal(RenewAt(p.TLS.Leaf)) {
		t.Errorf("the first one: got %+v", s)
	}
	stop()
	await(t, "the second one takes over", func() bool { return !second.Statuses()[0].Next.IsZero() })
	var none *Client
	none.Start()()
}

// TestUnusableFolder: a folder that cannot be used is a failure of all domains, until it can. It says nothing about a
// certificate.
func TestUnusableFolder(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "certificates"), new(syncBuilder)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := New(Config{
		Folder: certstore.Folder(path), Domains: []string{"one.test"}, Directory: nobody, Challenges: []string{TLSALPN01},
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	defer a.Start()()
	await(t, "it was tried", func() bool { return a.Statuses()[0].Failures > 0 })
	if s := a.Statuses()[0]; !strings.Contains(s.Cause, path) || s.Next.IsZero() {
		t.Errorf("got %+v", s)
	}
	if got := log.String(); strings.Contains(got, "another one is obtained") || !strings.Contains(got, "the folder cannot be used") {
		t.Errorf("the log: %s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await(t, "the authority is tried", func() bool {
		return strings.Contains(a.Statuses()[0].Cause, "the authority cannot be reached")
	})
}

// TestRestarts: a process that starts again soon after a refusal waits, and one that starts later does not. What has
// failed before has failed until there is a certificate.
func TestRestarts(t *testing.T) {
	f, log := certstore.Folder(t.TempDir()), new(syncBuilder)
	now := time.Now()
	for name, at := range map[string]time.Time{
		"soon.test": now, "later.test": now.Add(-firstRefusal), "clock.test": now.Add(time.Hour),
	} {
		if err := f.WriteFailure(name, certstore.Failure{Refusals: 5, At: at, Cause: "no A record"}); err != nil {
			t.Fatal(err)
		}
	}
	const old, has = "old.test", "has.test" // written before there was a cause; a certificate that has come meanwhile
	p := certtest.New(t).IssueUntil("x", has, now.Add(365*24*time.Hour))
	if err := errors.Join(
		f.WriteFailure(old, certstore.Failure{Refusals: 1, At: now}),
		f.WriteFailure(has, certstore.Failure{Refusals: 1, At: now, Cause: "no A record"}),
		f.Write(has, p.TLS.PrivateKey.(*ecdsa.PrivateKey), p.TLS.Certificate),
	); err != nil {
		t.Fatal(err)
	}
	a := New(Config{
		Folder: f, Domains: []string{"soon.test", "later.test", "clock.test", "new.test", old, has}, Directory: nobody,
		Challenges: []string{TLSALPN01}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	defer a.Start()()
	await(t, "all domains but one are tried", func() bool {
		s := a.Statuses()
		return !s[0].Next.IsZero() && s[1].Failures > 5 && s[2].Failures > 0 && s[3].Failures > 0 &&
			!s[4].Next.IsZero() && !s[5].Next.IsZero()
	})
	s := a.Statuses()
	if s := s[0]; s.Failures != 5 || s.Cause != "no A record" || !s.Next.Equal(now.Add(firstRefusal)) {
		t.Errorf("soon after a refusal: got %+v", s)
	}
	if s := s[4]; s.Failures != 1 || s.Cause == "" || !s.Next.Equal(now.Add(firstRefusal)) {
		t.Errorf("soon after a refusal of an earlier version: got %+v", s)
	}
	if s := s[5]; s.Failures != 0 || s.Cause != "" {
		t.Errorf("a certificate has come meanwhile: got %+v", s)
	}
	if n := strings.Count(log.String(), "waiting because of an earlier refusal"); n != 2 {
		t.Errorf("logged %d times, want once for each domain that waits: %s", n, log.String())
	}
}
