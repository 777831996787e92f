package auth_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// TestRemoteAddresses: keys and answers come over TLS or from this machine.
func TestRemoteAddresses(t *testing.T) {
	for _, tt := range []struct {
		url  string
		http bool
		ok   bool
	}{
		{"https://issuer.test/keys", false, true},
		{"http://issuer.test/keys", false, false},
		{"http://issuer.test/keys", true, true},
		{"http://127.0.0.1:1/keys", false, true},
		{"http://[::1]:1/keys", false, true},
		{"http://192.0.2.1:1/keys", false, false},
		{"http://localhost:1/keys", false, true},
		{"http://localhost.evil.test/keys", false, false},
		{"http://127.0.0.1.evil.test/keys", false, false},
		{"https://user:secret@issuer.test/keys", false, false},
		{"ftp://issuer.test/keys", true, false},
		{"file:///etc/passwd", true, false},
		{"issuer.test/keys", true, false},
		{"", true, false},
		{"https://%zz", true, false},
	} {
		none := &http.Client{Transport: trip(func() (string, error) { return "", net.ErrClosed })}
		j, err := auth.NewJWKS(auth.JWKSConfig{URL: tt.url, AllowHTTP: tt.http, Client: none})
		if (err == nil) != tt.ok {
			t.Errorf("JWKS at %q: got %v, want ok %v", tt.url, err, tt.ok)
		}
		if err == nil {
			_ = j.Close()
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("JWKS at %q: got %v", tt.url, err)
		}
		i, err := auth.NewIntrospector(auth.IntrospectConfig{URL: tt.url, AllowHTTP: tt.http})
		if (err == nil) != tt.ok {
			t.Errorf("introspection at %q: got %v, want ok %v", tt.url, err, tt.ok)
		}
		if err == nil {
			_ = i.Close()
		}
	}
}

// TestRemoteRedirects: three redirects within the server are followed.
func TestRemoteRedirects(t *testing.T) {
	a := newSigner(t, "a")
	for redirects, want := range map[int]string{3: "", 4: "too many redirects"} {
		synctest.Test(t, func(t *testing.T) {
			left := redirects
			client := &http.Client{Transport: tripFunc(func(r *http.Request) (*http.Response, error) {
				if left--; left >= 0 {
					header := http.Header{"Location": {"/next"}}
					return &http.Response{StatusCode: 302, Body: http.NoBody, Header: header, Request: r}, nil
				}
				return trip(func() (string, error) { return jwkSet(a), nil }).RoundTrip(r)
			})}
			heard := ""
			j, err := auth.NewJWKS(auth.JWKSConfig{
				URL: "https://p.test/keys", Client: client, OnError: func(err error) { heard = err.Error() },
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if !strings.Contains(heard, want) || (heard == "") != (want == "") {
				t.Errorf("%d redirects: got %q, want %q", redirects, heard, want)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRemoteSizes: a response may be as long as the limit: MaxBytes, or 1 MiB.
func TestRemoteSizes(t *testing.T) {
	set := jwkSet(newSigner(t, "a"))
	for _, tt := range []struct {
		limit int64
		size  int
		ok    bool
	}{
		{1000, 1000, true},
		{1000, 1001, false},
		{0, 1 << 20, true},
		{0, 1<<20 + 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			body := set + strings.Repeat(" ", tt.size-len(set))
			j, err := auth.NewJWKS(auth.JWKSConfig{URL: "https://p.test/keys", MaxBytes: tt.limit, Client: &http.Client{
				Transport: trip(func() (string, error) { return body, nil }),
			}})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := j.Stats().Failed == 0; got != tt.ok {
				t.Errorf("%d bytes, limit %d: got ok %v, want %v", tt.size, tt.limit, got, tt.ok)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// endless is the body of a response that begins and never ends.
type endless struct {
	io.Reader
	ctx context.Context // of the request
}

func (e endless) Read(b []byte) (int, error) {
	if n, err := e.Reader.Read(b); err == nil {
		return n, nil
	}
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}

func (endless) Close() error { return nil }

// tripFunc is a function that implements http.RoundTripper.
type tripFunc func(r *http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestJWKSEndlessAnswer: the timeout covers the body of a response, too.
func TestJWKSEndlessAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan error, 1)
		client := &http.Client{Transport: tripFunc(func(r *http.Request) (*http.Response, error) {
			body := endless{strings.NewReader(`{"keys":[`), r.Context()}
			return &http.Response{StatusCode: 200, Body: body, Header: http.Header{}, Request: r}, nil
		})}
		j, err := auth.NewJWKS(auth.JWKSConfig{
			URL: "https://p.test/keys", Client: client, OnError: func(err error) { heard <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = <-heard
		if !errors.Is(err, auth.ErrNoKeys) || !strings.Contains(err.Error(), "p.test is incomplete") {
			t.Errorf("got %v, want ErrNoKeys and that the response is incomplete", err)
		}
		if took := time.Since(start); took != 5*time.Second { // in the time of synctest
			t.Errorf("got an error after %v, want it after the default timeout", took)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
