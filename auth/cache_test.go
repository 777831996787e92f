package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// TestCache: a token is verified once until its time is over, and refusals are not kept.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := auth.NewCache(auth.VerifierFunc(func(_ context.Context, token string) (*auth.Identity, error) {
			asked++
			var id auth.Identity
			if err := json.Unmarshal([]byte(token), &id); err != nil {
				return nil, &auth.Error{Reason: auth.ReasonUnknown}
			}
			return &id, nil
		}), 2, time.Minute)
		expect := func(what, token string, wantReason auth.Reason, wantAsked int) *auth.Identity {
			t.Helper()
			before := asked
			id, err := c.Verify(t.Context(), token)
			if got := asked - before; reason(err) != wantReason || got != wantAsked {
				t.Errorf("%s: got %q and %d questions, want %q and %d", what, reason(err), got, wantReason, wantAsked)
			}
			return id
		}
		alice := `{"User":"alice","Scopes":["a"],"Claims":{"x":1}}`
		first := expect("first", alice, "", 1)
		first.Scopes[0], first.Claims["x"] = "b", 2
		id := expect("again", alice, "", 0)
		if id.Scopes[0] != "a" || id.Claims["x"] != 1.0 {
			t.Errorf("after a change of what the verifier returned: got %+v", id)
		}
		id.User, id.Scopes[0], id.Claims["x"] = "mallory", "b", 2
		if id = expect("after a change of the caller's copy", alice, "", 0); id.User != "alice" || id.Scopes[0] != "a" || id.Claims["x"] != 1.0 {
			t.Errorf("got %+v", id)
		}
		expect("bad", "x", auth.ReasonUnknown, 1)
		expect("bad again", "x", auth.ReasonUnknown, 1)
		later(time.Minute)
		expect("after its time", alice, "", 1)
		short, err := json.Marshal(auth.Identity{User: "bob", Expiry: time.Now().Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		expect("short", string(short), "", 1)
		expect("short again", string(short), "", 0)
		later(time.Second)
		expect("short, behind its own end: the verifier's matter", string(short), "", 1)
		expect("short, behind its own end: not kept", string(short), "", 1)
		for n := range 5 {
			expect("more", fmt.Sprintf(`{"User":"user-%d"}`, n), "", 1)
		}
		expect("pushed out", alice, "", 1)
		if s := c.Stats(); s.Entries != 2 || s.Hits != 3 || s.Misses != uint64(asked) || s.Evicted == 0 {
			t.Errorf("got %+v, asked %d", s, asked)
		}
		c.Clear()
		expect("after Clear", alice, "", 1)
	})
}

// TestCacheTogether: a Cache is safe for concurrent use.
func TestCacheTogether(t *testing.T) {
	v := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret)), NoExpiry: true})
	c := auth.NewCache(v, 4, 0)
	var tokens []string
	for n := range 8 {
		tokens = append(tokens, signHS(t, map[string]any{"sub": fmt.Sprint("user-", n), "x": n}))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 200 {
				k := (g + n) % len(tokens)
				id, err := c.Verify(context.Background(), tokens[k])
				if err != nil || id.User != fmt.Sprint("user-", k) {
					t.Errorf("got %v, %v, want user-%d", id, err, k)
					return
				}
				id.Claims["x"] = g
			}
		})
	}
	wg.Wait()
}

// TestCacheDefaults: without limits of its own, a Cache keeps 10,000 tokens, each for 30 s.
func TestCacheDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := auth.NewCache(auth.VerifierFunc(func(_ context.Context, token string) (*auth.Identity, error) {
			return &auth.Identity{User: token}, nil
		}), 0, 0)
		ask := func(token string) {
			t.Helper()
			if id, err := c.Verify(t.Context(), token); err != nil || id.User != token {
				t.Fatalf("got %v, %v, want %s", id, err, token)
			}
		}
		for n := range 10_001 {
			ask(fmt.Sprint(n))
		}
		if s := c.Stats(); s.Entries != 10_000 || s.Evicted != 1 || s.Hits != 0 {
			t.Errorf("got %+v, want 10,000 entries, one of 10,001 removed early", s)
		}
		later(30*time.Second - 1)
		ask("10000")
		if s := c.Stats(); s.Hits != 1 {
			t.Errorf("just before 30 s: got %d hits, want 1", s.Hits)
		}
		later(1)
		ask("10000")
		if s := c.Stats(); s.Hits != 1 {
			t.Errorf("after 30 s: got %d hits, want no further one", s.Hits)
		}
	})
}

// TestCacheKeepsOnlyAnswers: neither an identity beside an error nor the lack of both is kept.
func TestCacheKeepsOnlyAnswers(t *testing.T) {
	failed := errors.New("the verifier is not sure")
	for _, tt := range []struct {
		name string
		id   *auth.Identity
		err  error
	}{
		{"an identity and an error", &auth.Identity{User: "alice"}, failed},
		{"neither", nil, nil},
	} {
		c := auth.NewCache(auth.VerifierFunc(func(context.Context, string) (*auth.Identity, error) {
			return tt.id, tt.err
		}), 1, time.Hour)
		for range 2 {
			if id, err := c.Verify(t.Context(), "token"); id != tt.id || !errors.Is(err, tt.err) {
				t.Errorf("%s: got %v, %v, want what the verifier returned", tt.name, id, err)
			}
		}
		if s := c.Stats(); s.Misses != 2 || s.Entries != 0 {
			t.Errorf("%s: got %+v, want two misses", tt.name, s)
		}
	}
}
