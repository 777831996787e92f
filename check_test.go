package expedite

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

// TestWrongConfig: what would panic at the first client, or refuse all of them, is an error of Run, and nothing starts.
func TestWrongConfig(t *testing.T) {
	good := auth.VerifierFunc(fakeTokens)
	for _, tt := range []struct {
		name string
		cfg  Config
		add  func(*App)
		want string
	}{
		{"required without a verifier", Config{Auth: Auth{Mode: AuthRequired}}, nil, "Config.Auth.Verifier"},
		{"required by one endpoint", Config{}, func(a *App) { a.Handle("/x", Handler{Auth: AuthRequired}) }, "/x has AuthRequired"},
		{"a nil pointer as verifier", Config{Auth: Auth{Verifier: (*auth.JWT)(nil)}}, nil, "nil Verifier of type *auth.JWT"},
		{"a nil function as verifier", Config{Auth: Auth{Verifier: auth.VerifierFunc(nil)}}, nil, "nil Verifier"},
		{"a cache of nothing", Config{Auth: Auth{Verifier: auth.NewCache(nil, 0, 0)}}, nil, "nil Verifier"},
		{"a chain with a gap", Config{Auth: Auth{Verifier: auth.Chain(good, nil)}}, nil, "nil Verifier"},
		{"a nil pointer in a cache of a chain", Config{Auth: Auth{
			Verifier: auth.NewCache(auth.Chain(good, (*auth.Introspector)(nil)), 0, 0),
		}}, nil, "*auth.Introspector"},
		{"an empty chain", Config{Auth: Auth{Verifier: auth.Chain()}}, nil, "no Verifier"},
		{"a nil writer", Config{WorkerOutput: (*bytes.Buffer)(nil)}, nil, "Config.WorkerOutput"},
		{"a nil state", Config{}, func(a *App) { a.Handle("/x", Handler{State: (*Carried[int])(nil)}) }, "Handler.State is a nil"},
		{"no HTTP handler", Config{}, func(a *App) { a.HTTP(nil) }, "App.HTTP"},
		{"a nil HTTP handler", Config{}, func(a *App) { a.HTTP((*http.ServeMux)(nil)) }, "App.HTTP"},
	} {
		for _, workers := range []int{-1, 1} {
			tt.cfg.Addr, tt.cfg.Workers = "127.0.0.1:0", workers
			tt.cfg.OnStart = func(Started) { t.Errorf("%s: it serves", tt.name) }
			app := New(tt.cfg)
			if tt.add != nil {
				tt.add(app)
			}
			if err := app.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
			}
		}
	}
}
