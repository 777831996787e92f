package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// provider is a server whose behavior the test changes. It counts its requests.
type provider struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc]
	asked   atomic.Int64
}

// newProvider starts a provider on loopback with handler h.
func newProvider(t testing.TB, h http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.set(h)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		(*p.handler.Load())(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) set(h http.HandlerFunc) { p.handler.Store(&h) }

// await waits for the n-th request.
func (p *provider) await(t testing.TB, n int64) {
	t.Helper()
	for end := time.Now().Add(patience); p.asked.Load() < n; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("asked %d times, want %d", p.asked.Load(), n)
		}
	}
}

// says returns a handler that answers with a body.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// fails returns a handler that answers with a status.
func fails(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// hangs answers when the client has left or the test has ended.
func hangs(t testing.TB) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then the server does not notice that the client leaves
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
	}
}

// signer is a provider's key.
type signer struct {
	key    auth.SigningKey
	public string
}

func newSigner(t testing.TB, kid string) signer {
	t.Helper()
	private, public := pair(t, "EdDSA")
	key, err := auth.ParsePrivateKey([]byte(change(t, private, "kid", kid)))
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, change(t, public, "kid", kid)}
}

func (s signer) token(t testing.TB) string {
	t.Helper()
	return mustSign(t, s.key, map[string]any{"sub": "alice"})
}

func jwkSet(signers ...signer) string {
	var list []string
	for _, s := range signers {
		list = append(list, s.public)
	}
	return `{"keys":[` + strings.Join(list, ",") + `]}`
}

// follow returns a JWKS and a verifier that uses its keys.
func follow(t testing.TB, cfg auth.JWKSConfig) (*auth.JWKS, *auth.JWT) {
	t.Helper()
	j, err := auth.NewJWKS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, mustJWT(t, auth.JWTConfig{Keys: j, NoExpiry: true})
}

// want verifies a token and compares the reason.
func want(t testing.TB, v auth.Verifier, what, tok string, want auth.Reason) {
	t.Helper()
	if _, err := verify(t, v, tok); reason(err) != want {
		t.Errorf("%s: got %q (%v), want %q", what, reason(err), err, want)
	}
}

// TestJWKSOfAProvider: keys are fetched at the start. Unknown keys cause a fetch from time to time, however many there
// are.
func TestJWKSOfAProvider(t *testing.T) {
	a, b := newSigner(t, "a"), newSigner(t, "b")
	p := newProvider(t, says(jwkSet(a)))
	j, v := follow(t, auth.JWKSConfig{URL: p.URL})
	want(t, v, "the first key", a.token(t), "")
	want(t, v, "the first key again", a.token(t), "")
	if n := p.asked.Load(); n != 1 {
		t.Errorf("got %d fetches, want 1", n)
	}
	p.set(says(jwkSet(a, b))) // rotation with overlap
	want(t, v, "a key that is new", b.token(t), "")
	want(t, v, "the old key beside it", a.token(t), "")
	if n := p.asked.Load(); n != 2 {
		t.Errorf("got %d fetches, want 2", n)
	}
	var wg sync.WaitGroup // anybody can make up key ids
	for i := range 200 {
		tok := newSigner(t, fmt.Sprint("made up ", i)).token(t)
		wg.Go(func() { want(t, v, "a key that is made up", tok, auth.ReasonBadSignature) })
	}
	wg.Wait()
	if n := p.asked.Load(); n != 2 {
		t.Errorf("got %d fetches after 200 unknown keys within a minute, want 2", n)
	}
	if s := j.Stats(); s.Fetches != 2 || s.Failed != 0 || s.Limited != 200 || s.Keys != 2 || s.Updated.IsZero() {
		t.Errorf("got %+v", s)
	}
}

// TestJWKSStorm: many concurrent clients with a new key cause one fetch.
func TestJWKSStorm(t *testing.T) {
	a, b := newSigner(t, "a"), newSigner(t, "b")
	p := newProvider(t, says(jwkSet(a)))
	_, v := follow(t, auth.JWKSConfig{URL: p.URL})
	want(t, v, "the first key", a.token(t), "")
	release := make(chan struct{})
	p.set(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		says(jwkSet(b))(w, r)
	})
	tok := b.token(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { want(t, v, "a key that is new", tok, "") })
	}
	p.await(t, 2) // the fetch is in progress and waits
	want(t, v, "a known key meanwhile", a.token(t), "")
	close(release)
	wg.Wait()
	if n := p.asked.Load(); n != 2 {
		t.Errorf("got %d fetches, want 2", n)
	}
	want(t, v, "a key that was taken away", a.token(t), auth.ReasonBadSignature)
}

// TestJWKSBadAnswers: a bad response is an error that names the provider, and tokens cannot be verified.
func TestJWKSBadAnswers(t *testing.T) {
	a := newSigner(t, "a")
	elsewhere := newProvider(t, says(jwkSet(a)))
	rsaPrivate, _ := pair(t, "RS256")
	secret, _ := pair(t, "HS256")
	secretKey, err := auth.ParsePrivateKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := auth.ParsePrivateKey([]byte(rsaPrivate))
	if err != nil {
		t.Fatal(err)
	}
	tok := a.token(t)
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		token  string
		want   auth.Reason
		err    string // a part of the error passed to OnError
	}{
		{"fine", says(jwkSet(a)), tok, "", ""},
		{"an error page", says("<html>maintenance</html>"), tok, auth.ReasonUnavailable, "not the JSON"},
		{"nothing", says(""), tok, auth.ReasonUnavailable, "not the JSON"},
		{"something else", says(`{"issuer":"x"}`), tok, auth.ReasonUnavailable, "neither a JWK set"},
		{"an empty set", says(`{"keys":[]}`), tok, auth.ReasonUnavailable, "can be used"},
		{"too many keys", says(`{"keys":[` + strings.Repeat(a.public+",", 64) + a.public + `]}`), tok, auth.ReasonUnavailable, "65 keys"},
		{"too much", says(jwkSet(a) + strings.Repeat(" ", 1<<20)), tok, auth.ReasonUnavailable, "more than 1048576 bytes"},
		{"a status of 500", fails(500), tok, auth.ReasonUnavailable, "answers 500"},
		{"a status of 204", fails(204), tok, auth.ReasonUnavailable, "answers 204"},
		{"hanging", hangs(t), tok, auth.ReasonUnavailable, "does not answer"},
		{"a broken connection", func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = c.Close()
			}
		}, tok, auth.ReasonUnavailable, "does not answer"},
		{"a redirect to another server", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}, tok, auth.ReasonUnavailable, "redirect to another server"},
		{"redirects without an end", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}, tok, auth.ReasonUnavailable, "too many redirects"},
		{"a redirect within the server", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				says(jwkSet(a))(w, r)
				return
			}
			http.Redirect(w, r, "/keys", http.StatusFound)
		}, tok, "", ""},
		{"a key that is broken beside a good one", says(`{"keys":[{"kty":"EC","crv":"P-256"},` + a.public + `,7]}`), tok, "", ""},
		{"a secret that everybody can read", says(`{"keys":[` + secret + `,` + a.public + `]}`), mustSign(t, secretKey, map[string]any{"sub": "admin"}), auth.ReasonBadSignature, ""},
		{"a secret and nothing else", says(`{"keys":[` + secret + `]}`), tok, auth.ReasonUnavailable, "can be used"},
		{"a private key: its public half counts", says(`{"keys":[` + rsaPrivate + `]}`), mustSign(t, rsaKey, map[string]any{"sub": "alice"}), "", ""},
		{"keys for encryption", says(`{"keys":[` + change(t, a.public, "use", "enc") + `]}`), tok, auth.ReasonUnavailable, "can be used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t, tt.answer)
			heard := make(chan error, 100)
			timeout := patience
			if strings.Contains(tt.err, "does not") {
				timeout = 50 * time.Millisecond // which the server exceeds
			}
			_, v := follow(t, auth.JWKSConfig{URL: p.URL, Timeout: timeout, OnError: func(err error) { heard <- err }})
			want(t, v, "the token", tt.token, tt.want)
			if tt.err == "" {
				return
			}
			select {
			case err := <-heard:
				if !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), strings.TrimPrefix(p.URL, "http://")) && !strings.Contains(tt.err, "keys") && !strings.Contains(tt.err, "redirect") {
					t.Errorf("got %v, want %q", err, tt.err)
				}
			case <-time.After(patience):
				t.Error("nobody heard of the error")
			}
		})
	}
	if n := elsewhere.asked.Load(); n > 0 {
		t.Errorf("the other server was asked %d times, want never", n)
	}
}

// trip is a provider without a network, for tests in which time passes.
type trip func() (string, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := f()
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

// TestJWKSOverTime: a provider is down at the start, comes up, goes down, and comes back with other keys.
func TestJWKSOverTime(t *testing.T) {
	a, b, c := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "c")
	down := errors.New("connection refused")
	synctest.Test(t, func(t *testing.T) {
		// The goroutine of the JWKS calls this.
		var mu sync.Mutex
		var body string
		fault, fetched, failures := down, 0, 0
		provide := func(b string, err error) {
			mu.Lock()
			defer mu.Unlock()
			body, fault = b, err
		}
		counts := func() (fetches, heard int) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return fetched, failures
		}
		j, err := auth.NewJWKS(auth.JWKSConfig{
			URL: "https://issuer.test/keys", OnError: func(error) {
				mu.Lock()
				defer mu.Unlock()
				failures++
			},
			Client: &http.Client{Transport: trip(func() (string, error) {
				mu.Lock()
				defer mu.Unlock()
				fetched++
				return body, fault
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		v := mustJWT(t, auth.JWTConfig{Keys: j, NoExpiry: true})

		want(t, v, "down at the start", a.token(t), auth.ReasonUnavailable)
		for range 50 {
			want(t, v, "down, and asked again at once", a.token(t), auth.ReasonUnavailable)
		}
		if fetches, heard := counts(); fetches != 1 || heard != 1 {
			t.Errorf("down: got %d fetches and %d errors, want 1 and 1", fetches, heard)
		}
		provide(jwkSet(a), nil)
		later(time.Second)
		want(t, v, "up: the first use tries again", a.token(t), "")
		if fetches, _ := counts(); fetches != 2 {
			t.Errorf("up: got %d fetches, want 2", fetches)
		}

		provide("", down)
		later(time.Hour)
		want(t, v, "down for an hour: the keys stay", a.token(t), "")
		if n, _ := counts(); n-2 < 5 || n-2 > 20 {
			t.Errorf("down for an hour: got %d fetches, want some, further and further apart", n-2)
		}
		want(t, v, "down, unknown key", b.token(t), auth.ReasonBadSignature)

		provide(jwkSet(b), nil)
		later(16 * time.Minute)
		want(t, v, "rotated: the new key", b.token(t), "")
		want(t, v, "rotated: the old key is gone", a.token(t), auth.ReasonBadSignature)

		before, _ := counts()
		for range 600 { // ten minutes of made-up keys
			want(t, v, "made up", c.token(t), auth.ReasonBadSignature)
			later(time.Second)
		}
		if n, _ := counts(); n-before > 12 {
			t.Errorf("made up keys for ten minutes: got %d fetches, want at most one in a minute and the regular one", n-before)
		}
	})
}

// TestJWKSClose: Close ends the wait for keys.
func TestJWKSClose(t *testing.T) {
	p := newProvider(t, hangs(t))
	j, v := follow(t, auth.JWKSConfig{URL: p.URL, Timeout: patience})
	tok := newSigner(t, "a").token(t)
	ended := make(chan error, 1)
	go func() { // ends with Close
		_, err := v.Verify(context.Background(), tok)
		ended <- err
	}()
	p.await(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, tok); reason(err) != auth.ReasonUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: got %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; reason(err) != auth.ReasonUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	want(t, v, "behind Close", tok, auth.ReasonUnavailable)
}

// TestJWKSReusedID: a provider may reuse the ID of an old key for a new one, of the same type or another. A valid token
// causes a fetch; invalid ones cause at most one in MinInterval.
func TestJWKSReusedID(t *testing.T) {
	old, next, foreign := newSigner(t, "main"), newSigner(t, "main"), newSigner(t, "main")
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int64
		var body atomic.Value
		body.Store(jwkSet(old))
		j, err := auth.NewJWKS(auth.JWKSConfig{URL: "https://issuer.test/keys", Client: &http.Client{
			Transport: trip(func() (string, error) { fetched.Add(1); return body.Load().(string), nil }),
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for name, keys := range map[string]auth.KeySource{
			"alone": j, "joined": auth.JoinKeys(auth.Secret([]byte(testSecret)), j),
		} {
			v := mustJWT(t, auth.JWTConfig{Keys: keys, NoExpiry: true})
			body.Store(jwkSet(old))
			later(time.Hour)
			want(t, v, name+", before", old.token(t), "")
			before := fetched.Load()
			body.Store(jwkSet(next))
			want(t, v, name+", the new key", next.token(t), "")
			want(t, v, name+", the old key", old.token(t), auth.ReasonBadSignature)
			for range 30 { // within one MinInterval
				want(t, v, name+", made up", foreign.token(t), auth.ReasonBadSignature)
				later(time.Second)
			}
			if n := fetched.Load() - before; n != 1 {
				t.Errorf("%s: got %d fetches, want 1", name, n)
			}
		}
	})
}
