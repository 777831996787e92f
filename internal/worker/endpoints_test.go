package worker

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/engine"
)

// TestEndpoints checks which endpoint a request has, and which one a connection of another release.
func TestEndpoints(t *testing.T) {
	routes := make(map[string]*engine.Route)
	for _, text := range []string{"/", "/room/{id}", "/room/lobby", "/files/{rest...}", "/docs/"} {
		routes[text] = &engine.Route{Path: text}
	}
	e, err := newEndpoints(routes)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "/", "/room/7": "/room/{id}", "/room/lobby": "/room/lobby", "/files/a/b": "/files/{rest...}", "/none": "",
	} {
		if got := e.match(path); got != routes[want] {
			t.Errorf("request of %s: got %+v, want %q", path, got, want)
		}
	}
	for pattern, want := range map[string]string{
		"/room/{id}": "/room/{id}", "/room/{name}": "/room/{id}", "/files/{path...}": "/files/{rest...}", "/docs/{$}": "/docs/",
		"/docs": "", "/room/{rest...}": "", "/100%": "", "": "",
	} {
		if got := e.of(pattern); got != routes[want] {
			t.Errorf("connection of %s: got %+v, want %q", pattern, got, want)
		}
	}
	for _, tt := range []struct{ one, two, want string }{{"/{a}", "/{b}", "same paths"}, {"/a", "/{b", "/{b"}} {
		_, err := newEndpoints(map[string]*engine.Route{tt.one: nil, tt.two: nil})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s and %s: got %v, want %q", tt.one, tt.two, err, tt.want)
		}
	}
}
