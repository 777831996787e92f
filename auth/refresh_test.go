package auth_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// TestJWKSRefresh: keys are fetched again within 15 min. After a failure the delay begins at 5 s, and doubles up to
// that. Each delay is shorter by up to a tenth, at random.
func TestJWKSRefresh(t *testing.T) {
	set := jwkSet(newSigner(t, "a"))
	synctest.Test(t, func(t *testing.T) {
		var fetches []time.Time // the goroutine of the JWKS writes it
		answers := []bool{false, false, false, true, true, true, false, false, true}
		for range 20 {
			answers = append(answers, false)
		}
		down := errors.New("connection refused")
		j, err := auth.NewJWKS(auth.JWKSConfig{URL: "https://p.test/keys", Client: &http.Client{
			Transport: trip(func() (string, error) {
				fetches = append(fetches, time.Now())
				if n := len(fetches); n <= len(answers) && answers[n-1] {
					return set, nil
				}
				return "", down
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		later(10 * time.Hour)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if len(fetches) <= len(answers) {
			t.Fatalf("got %d fetches in ten hours, want more than %d", len(fetches), len(answers))
		}
		n := uint64(len(fetches))
		if s := j.Stats(); s.Fetches != n || s.Failed != n-4 || s.Updated != fetches[8] {
			t.Errorf("got %+v, want %d fetches, of which 4 succeeded, the last one at %v", s, n, fetches[8])
		}
		next := 5 * time.Second
		for n, ok := range answers {
			delay := 15 * time.Minute
			if ok {
				next = 5 * time.Second
			} else {
				delay = min(delay, next)
				next *= 2
			}
			if got := fetches[n+1].Sub(fetches[n]); got > delay || got < delay*9/10 {
				t.Errorf("after fetch %d (ok %v): got a delay of %v, want up to %v", n, ok, got, delay)
			}
		}
	})
}

// TestJWKSFind: an ID selects the keys of that name. A key without a name counts for any ID only if it is the only key.
func TestJWKSFind(t *testing.T) {
	a, b, unnamed := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "")
	for _, tt := range []struct {
		name string
		set  string
		kid  string
		want int
	}{
		{"no ID: all", jwkSet(a, b), "", 2},
		{"one of two", jwkSet(a, b), "b", 1},
		{"none of two", jwkSet(a, b), "c", 0},
		{"not the only one", jwkSet(a), "c", 0},
		{"the only one, without a name", jwkSet(unnamed), "c", 1},
		{"one without a name beside another", jwkSet(unnamed, a), "c", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, _ := follow(t, auth.JWKSConfig{URL: "https://p.test/keys", Client: &http.Client{
				Transport: trip(func() (string, error) { return tt.set, nil }),
			}})
			if keys, err := j.Keys(t.Context(), tt.kid); err != nil || len(keys) != tt.want {
				t.Errorf("%s: got %v, %v, want %d", tt.name, keys, err, tt.want)
			}
		})
	}
}

// TestJWKSRenew: a token with a known ID that its key has not signed causes a fetch, unless the keys are newer than it.
func TestJWKSRenew(t *testing.T) {
	a, forger := newSigner(t, "a"), newSigner(t, "a")
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		_, v := follow(t, auth.JWKSConfig{URL: "https://p.test/keys", Client: &http.Client{
			Transport: trip(func() (string, error) { fetched++; return jwkSet(a), nil }),
		}})
		synctest.Wait()
		for n, after := range []time.Duration{0, 1} {
			later(after)
			want(t, v, "forged", forger.token(t), auth.ReasonBadSignature)
			if synctest.Wait(); fetched != n+1 {
				t.Errorf("keys that are %v old: got %d fetches, want %d", after, fetched, n+1)
			}
		}
	})
}

// TestJWKSMinInterval: unknown keys cause a fetch again as soon as MinInterval, which is a minute, has passed.
func TestJWKSMinInterval(t *testing.T) {
	a, made := newSigner(t, "a"), newSigner(t, "made up")
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		j, v := follow(t, auth.JWKSConfig{URL: "https://p.test/keys", Client: &http.Client{
			Transport: trip(func() (string, error) { fetched++; return jwkSet(a), nil }),
		}})
		synctest.Wait()
		for _, tt := range []struct {
			after time.Duration
			want  int
		}{{0, 2}, {time.Minute - 1, 2}, {1, 3}} {
			later(tt.after)
			want(t, v, "made up", made.token(t), auth.ReasonBadSignature)
			if synctest.Wait(); fetched != tt.want {
				t.Errorf("after %v: got %d fetches, want %d", tt.after, fetched, tt.want)
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
