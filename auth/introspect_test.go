package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

func introspector(t testing.TB, cfg auth.IntrospectConfig) *auth.Introspector {
	t.Helper()
	i, err := auth.NewIntrospector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

const activeAlice = `{"active":true,"sub":"alice","scope":"chat:read","client_id":"app","exp":9999999999}`

// TestIntrospection: the request is that of RFC 7662, and the answer becomes an Identity.
func TestIntrospection(t *testing.T) {
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.PostFormValue("token") != "opaque&token=x" || user != "me%3A+1" || password != "p%26w" ||
			r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
			t.Errorf("got %s %s as %q %q with %v", r.Method, r.URL, user, password, r.PostForm)
		}
		says(activeAlice)(w, r)
	})
	i := introspector(t, auth.IntrospectConfig{URL: p.URL, ClientID: "me: 1", ClientSecret: "p&w"})
	id, err := verify(t, i, "opaque&token=x")
	if err != nil {
		t.Fatal(err)
	}
	wantID := auth.Identity{
		User: "alice", Scopes: []string{"chat:read"}, Claims: map[string]any{"client_id": "app"},
		Expiry: time.Unix(9999999999, 0).UTC(), Leeway: auth.DefaultLeeway, TokenID: auth.HashToken("opaque&token=x"),
	}
	if !reflect.DeepEqual(*id, wantID) {
		t.Errorf("got %+v, want %+v", *id, wantID)
	}
	id.Claims["client_id"], id.Scopes[0] = "changed", "changed" // Verify returns a copy that the caller may change
	again, err := verify(t, i, "opaque&token=x")
	if err != nil || !reflect.DeepEqual(*again, wantID) {
		t.Errorf("again: got %+v, %v, want %+v", again, err, wantID)
	}
	if s := i.Stats(); s.Requests != 1 || s.Hits != 1 || s.Entries != 1 || s.Failed != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestIntrospectionAnswers(t *testing.T) {
	const tok = "opaque-token-that-nobody-may-see"
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   auth.Reason
	}{
		{"active", says(activeAlice), ""},
		{"without exp", says(`{"active":true,"sub":"alice"}`), ""},
		{"not active", says(`{"active":false}`), auth.ReasonUnknown},
		{"expired all the same", says(`{"active":true,"sub":"alice","exp":1}`), auth.ReasonExpired},
		{"without a user", says(`{"active":true}`), auth.ReasonMalformed},
		{"exp as text", says(`{"active":true,"sub":"alice","exp":"9999999999"}`), auth.ReasonMalformed},
		{"for another audience", says(`{"active":true,"sub":"alice","aud":"x","iss":"https://issuer.test"}`), auth.ReasonWrongAudience},
		{"from another issuer", says(`{"active":true,"sub":"alice","iss":"x"}`), auth.ReasonWrongIssuer},
		{"the token as its id", says(`{"active":true,"sub":"alice","jti":"` + tok + `"}`), ""},
		{"active as text", says(`{"active":"true","sub":"alice"}`), auth.ReasonUnavailable},
		{"active twice", says(`{"active":true,"sub":"alice","active":false}`), auth.ReasonUnavailable},
		{"without active", says(`{"sub":"alice"}`), auth.ReasonUnavailable},
		{"an error page", says("<html>" + tok), auth.ReasonUnavailable},
		{"too much", says(activeAlice + strings.Repeat(" ", 64<<10)), auth.ReasonUnavailable},
		{"not authorized", fails(401), auth.ReasonUnavailable},
		{"broken", fails(500), auth.ReasonUnavailable},
		{"hanging", hangs(t), auth.ReasonUnavailable},
		{"a redirect to another server", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.2:1/", http.StatusTemporaryRedirect)
		}, auth.ReasonUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t, tt.answer)
			cfg := auth.IntrospectConfig{URL: p.URL, ClientID: "me", ClientSecret: "client-secret-client-secret"}
			if strings.Contains(tt.name, "another") {
				cfg.Issuers, cfg.Audiences = []string{testIssuer}, []string{testAudience}
			}
			if tt.name == "hanging" {
				cfg.Timeout = 50 * time.Millisecond // which the server exceeds
			}
			id, err := verify(t, introspector(t, cfg), tok)
			if got := reason(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && (id.User != "alice" || id.TokenID != auth.HashToken(tok)) {
				t.Errorf("got %+v", id)
			}
			wantSilent(t, err, tok)
			if err != nil && strings.Contains(err.Error(), "client-secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestIntrospectionOverTime: answers are kept for some time, valid ones longer than refusals and never beyond the
// token. A provider that is down is noticed only after that.
func TestIntrospectionOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(map[string]string)
		asked, fault := 0, error(nil)
		i, err := auth.NewIntrospector(auth.IntrospectConfig{
			URL: "https://issuer.test/introspect", MaxEntries: 3, Leeway: -1,
			Client: &http.Client{Transport: formTrip(func(token string) (string, error) {
				asked++
				return answers[token], fault
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		expect := func(what, token string, wantReason auth.Reason, wantAsked int) {
			t.Helper()
			before := asked
			want(t, i, what, token, wantReason)
			if got := asked - before; got != wantAsked {
				t.Errorf("%s: got %d questions, want %d", what, got, wantAsked)
			}
		}
		answers["good"] = `{"active":true,"sub":"alice"}`
		answers["bad"] = `{"active":false}`
		answers["short"] = fmt.Sprintf(`{"active":true,"sub":"alice","exp":%d}`, time.Now().Add(10*time.Second).Unix())
		expect("good", "good", "", 1)
		expect("bad", "bad", auth.ReasonUnknown, 1)
		expect("short", "short", "", 1)
		expect("good again", "good", "", 0)
		expect("bad again", "bad", auth.ReasonUnknown, 0)
		later(6 * time.Second)
		expect("bad after six seconds", "bad", auth.ReasonUnknown, 1)
		answers["short"] = `{"active":false}`
		later(5 * time.Second)
		expect("behind its own end", "short", auth.ReasonUnknown, 1)

		fault = errors.New("connection refused")
		expect("down, while the answer is fresh", "good", "", 0)
		later(20 * time.Second)
		expect("down, behind that", "good", auth.ReasonUnavailable, 1)
		expect("down, again: that is not kept", "good", auth.ReasonUnavailable, 1)
		fault = nil
		expect("up again", "good", "", 1)

		for n := range 10 { // made-up tokens displace one another
			expect("made up", fmt.Sprint("made up ", n), auth.ReasonUnavailable, 1)
			answers[fmt.Sprint("no ", n)] = `{"active":false}`
			expect("known to be bad", fmt.Sprint("no ", n), auth.ReasonUnknown, 1)
		}
		expect("good, after many bad ones", "good", "", 0)
		if s := i.Stats(); s.Entries > 6 || s.Evicted == 0 {
			t.Errorf("got %+v, want at most 3 good and 3 bad entries", s)
		}
	})
}

// TestIntrospectionRoom: 64 requests are sent at a time, 1,024 tokens wait, and one more is refused.
func TestIntrospectionRoom(t *testing.T) {
	const sent, waiting, beyond = 64, 1024, 3
	synctest.Test(t, func(t *testing.T) {
		i, err := auth.NewIntrospector(auth.IntrospectConfig{
			URL: "https://issuer.test/introspect", Client: &http.Client{
				Transport: tripFunc(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for n := range sent + waiting + beyond {
			wg.Go(func() { _, _ = i.Verify(context.Background(), fmt.Sprint("token ", n)) })
		}
		synctest.Wait()
		if s := i.Stats(); s.Requests != sent || s.Overloaded != beyond {
			t.Errorf("got %+v, want %d requests and %d refused", s, sent, beyond)
		}
		wg.Wait()
		if took := time.Since(start); took != 5*time.Second { // in the time of synctest
			t.Errorf("got the last answer after %v, want it after the default timeout", took)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestIntrospectionDefaults: answers are kept for 30 s, 10,000 at most. With a negative CacheTTL, none is kept.
func TestIntrospectionDefaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ttl    time.Duration
		tokens int
		kept   bool
	}{{"default", 0, 10_001, true}, {"none", -1, 1, false}} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			i := introspector(t, auth.IntrospectConfig{
				URL: "https://issuer.test/introspect", CacheTTL: tt.ttl, Client: &http.Client{
					Transport: formTrip(func(string) (string, error) { asked++; return activeAlice, nil }),
				},
			})
			last := ""
			for n := range tt.tokens {
				last = fmt.Sprint("token ", n)
				want(t, i, "a token", last, "")
			}
			later(30*time.Second - 1)
			want(t, i, "the last one", last, "")
			if s := i.Stats(); tt.kept && (s.Entries != 10_000 || s.Evicted != 1 || s.Hits != 1) || !tt.kept && s.Entries+int(s.Hits) != 0 {
				t.Errorf("%s: got %+v, want answers kept: %v", tt.name, s, tt.kept)
			}
			later(1)
			before := asked
			if want(t, i, "after 30 s", last, ""); asked != before+1 {
				t.Errorf("%s, after 30 s: got no question", tt.name)
			}
		})
	}
}

// TestIntrospectionStats: answers and refusals are counted together, and each have their own limit.
func TestIntrospectionStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := introspector(t, auth.IntrospectConfig{
			URL: "https://issuer.test/introspect", MaxEntries: 2, Client: &http.Client{
				Transport: formTrip(func(token string) (string, error) {
					if strings.HasPrefix(token, "good") {
						return activeAlice, nil
					}
					return `{"active":false}`, nil
				}),
			},
		})
		for n := range 3 {
			want(t, i, "good", fmt.Sprint("good ", n), "")
		}
		for n := range 6 {
			want(t, i, "bad", fmt.Sprint("bad ", n), auth.ReasonUnknown)
		}
		if s := i.Stats(); s.Entries != 2+2 || s.Evicted != 1+4 || s.Requests != 3+6 || s.Failed != 0 {
			t.Errorf("got %+v", s)
		}
		longest := strings.Repeat("good", 64<<10/4)
		want(t, i, "as long as may be", longest, "")
		want(t, i, "too long", longest+"x", auth.ReasonMalformed)
	})
}

// formTrip is an introspection endpoint without a network.
type formTrip func(token string) (string, error)

func (f formTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	return trip(func() (string, error) { return f(r.PostForm.Get("token")) }).RoundTrip(r)
}

// TestIntrospectionStorm: equal tokens share a request, and a client that leaves does not cancel it for the others.
func TestIntrospectionStorm(t *testing.T) {
	release := make(chan struct{})
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		says(activeAlice)(w, r)
	})
	i := introspector(t, auth.IntrospectConfig{URL: p.URL, Timeout: patience})
	impatient, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { // ends with leave
		_, err := i.Verify(impatient, "token")
		first <- err
	}()
	p.await(t, 1)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { want(t, i, "one of many", "token", "") })
	}
	leave()
	if err := <-first; reason(err) != auth.ReasonUnavailable {
		t.Errorf("the client that left: got %v", err)
	}
	close(release)
	wg.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("got %d questions, want 1", n)
	}
}

// TestIntrospectionOverload: beyond the limit of waiting tokens, clients are refused at once.
func TestIntrospectionOverload(t *testing.T) {
	p := newProvider(t, hangs(t))
	i := introspector(t, auth.IntrospectConfig{URL: p.URL, Timeout: patience})
	const room = 64 + 1024
	var wg sync.WaitGroup
	refused := make(chan string, room+100)
	for n := range room + 100 {
		wg.Go(func() {
			if _, err := i.Verify(context.Background(), fmt.Sprint("token ", n)); reason(err) == auth.ReasonOverloaded {
				refused <- err.Error()
			}
		})
	}
	for range 100 {
		select {
		case <-refused:
		case <-time.After(patience):
			t.Fatal("too few were refused")
		}
	}
	if n := p.asked.Load(); n > 64 {
		t.Errorf("got %d questions at a time, want at most 64", n)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if s := i.Stats(); s.Overloaded < 100 {
		t.Errorf("got %+v", s)
	}
	want(t, i, "behind Close", "token", auth.ReasonUnavailable)
}
