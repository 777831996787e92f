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
