package auth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// provided returns a verifier of the keys that a provider has at present. An empty body means that it is down.
func provided(t testing.TB, url string, body *string) *auth.JWT {
	t.Helper()
	_, v := follow(t, auth.JWKSConfig{URL: url, Client: &http.Client{Transport: trip(func() (string, error) {
		if *body == "" {
			return "", errors.New("connection refused")
		}
		return *body, nil
	})}})
	synctest.Wait()
	return v
}

// TestSnapshot: another process continues with the keys of a provider that it cannot reach.
func TestSnapshot(t *testing.T) {
	const one, two = "https://one.test/keys", "https://two.test/keys"
	a, b, c := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "c")
	synctest.Test(t, func(t *testing.T) {
		down, setA, setB, setC := "", jwkSet(a), jwkSet(b), jwkSet(c)
		oldA := provided(t, one, &setA)
		later(time.Second)
		v := auth.NewCache(auth.Chain(oldA, provided(t, two, &setB)), 0, 0)
		snapshot := auth.Snapshot(v)
		if strings.Contains(string(snapshot), "one.test") {
			t.Errorf("got %s, want no address in it", snapshot)
		}

		next := auth.Chain(provided(t, one, &down), provided(t, two, &down), provided(t, "https://three.test", &down))
		if err := auth.Ready(next); !errors.Is(err, auth.ErrNoKeys) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("before Restore: got %v, want ErrNoKeys and why", err)
		}
		if got := auth.Snapshot(next); got != nil {
			t.Errorf("before Restore: got %s, want no snapshot", got)
		}
		if err := auth.Restore(next, snapshot); err != nil {
			t.Fatal(err)
		}
		want(t, next, "a key of the first provider", a.token(t), "")
		want(t, next, "a key of the second provider", b.token(t), "")
		if err := auth.Ready(next); err != nil {
			t.Errorf("after Restore: got %v", err)
		}
		if got, want := auth.Updated(next), time.Now(); !got.Equal(want) || !auth.Updated(oldA).Equal(want.Add(-time.Second)) {
			t.Errorf("got keys of %v, want those of %v, the newest", got, want)
		}
		if got := auth.Snapshot(next); string(got) != string(snapshot) {
			t.Errorf("got %s, want %s", got, snapshot)
		}

		later(time.Second)
		newer := provided(t, one, &setC)
		setC = "" // so that no fetch brings them again
		if err := auth.Restore(newer, snapshot); err != nil {
			t.Fatal(err)
		}
		want(t, newer, "newer keys stay", c.token(t), "")
		if err := auth.Restore(oldA, auth.Snapshot(newer)); err != nil {
			t.Fatal(err)
		}
		want(t, oldA, "older keys are replaced", c.token(t), "")
	})
}

// TestRestoreRefuses: what is no snapshot changes nothing.
func TestRestoreRefuses(t *testing.T) {
	const url = "https://p.test/keys"
	synctest.Test(t, func(t *testing.T) {
		a := newSigner(t, "a")
		set, down := jwkSet(a), ""
		v := provided(t, url, &set)
		bad := strings.Replace(string(auth.Snapshot(v)), `"keys"`, `"other"`, 1)
		for name, b := range map[string]string{"nothing": "", "nonsense": "{", "no keys": bad} {
			next := provided(t, url, &down)
			if err := auth.Restore(next, []byte(b)); err == nil || !strings.HasPrefix(err.Error(), "auth: snapshot") {
				t.Errorf("%s: got %v, want an error", name, err)
			}
			if err := auth.Ready(next); !errors.Is(err, auth.ErrNoKeys) {
				t.Errorf("%s: got %v, want ErrNoKeys", name, err)
			}
		}
	})
}

// TestReady: one Verifier that has keys is enough.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := ""
		dead := provided(t, "https://p.test/keys", &down)
		secret := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret))})
		for name, tt := range map[string]struct {
			v     auth.Verifier
			ready bool
		}{
			"a secret":                        {secret, true},
			"a provider that is down":         {dead, false},
			"beside a secret":                 {auth.Chain(dead, secret), true},
			"twice":                           {auth.Chain(dead, dead), false},
			"a Verifier of the application's": {auth.VerifierFunc(func(context.Context, string) (*auth.Identity, error) { return nil, nil }), true},
		} {
			if err := auth.Ready(tt.v); (err == nil) != tt.ready {
				t.Errorf("%s: got %v, want it ready: %v", name, err, tt.ready)
			}
		}
	})
}

// TestCheck: a Verifier that would panic is found before the first client comes.
func TestCheck(t *testing.T) {
	good := mustJWT(t, auth.JWTConfig{Keys: auth.Secret([]byte(testSecret))})
	for name, tt := range map[string]struct {
		v  auth.Verifier
		ok bool
	}{
		"a JWT":            {good, true},
		"a function":       {auth.VerifierFunc(good.Verify), true},
		"a chain":          {auth.Chain(good, good), true},
		"a cache":          {auth.NewCache(good, 0, 0), true},
		"a value":          {valueVerifier{}, true},
		"nil":              {nil, false},
		"a nil pointer":    {(*auth.JWT)(nil), false},
		"a nil function":   {auth.VerifierFunc(nil), false},
		"an empty chain":   {auth.Chain(), false},
		"a chain with nil": {auth.Chain(good, nil), false},
		"a cache of nil":   {auth.NewCache((*auth.JWT)(nil), 0, 0), false},
	} {
		if err := auth.Check(tt.v); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", name, err, tt.ok)
		}
	}
}

// valueVerifier is a Verifier that cannot be nil.
type valueVerifier struct{}

func (valueVerifier) Verify(context.Context, string) (*auth.Identity, error) { return nil, nil }
