package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Target is a server under test.
type Target struct {
	Name     string
	Addr     string // host:port
	Path     string // of an endpoint that echoes messages
	Features []Feature
	// Patience is how long the server may take for a case. Reaching it is a failure. The zero value means two minutes.
	Patience time.Duration
}

// PlainPath answers a GET with 200 on a server that is tested with later requests, or has the feature HTTP.
const PlainPath = "/plain"

const defaultPatience = 2 * time.Minute

func (t *Target) patience() time.Duration {
	if t.Patience > 0 {
		return t.Patience
	}
	return defaultPatience
}

func (t *Target) has(needs []Feature) bool {
	return !slices.ContainsFunc(needs, func(f Feature) bool { return !slices.Contains(t.Features, f) })
}

// Requests answers each request with what it has seen of it. It is the handler of a server with the feature HTTP: so
// that a client learns of requests that the server found where none was sent. ClientField has the client.
func Requests() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr) // empty for a client without an address
		w.Header().Set(ClientField, strings.TrimSpace(host+" "+r.URL.Scheme))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body is incomplete", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, saw(r.Method, r.RequestURI, string(body))) // the client may have left
	})
}

// saw is the body of an answer of Requests.
func saw(method, target, body string) string {
	return fmt.Sprintf("saw %s %s %q\n", method, target, body)
}
