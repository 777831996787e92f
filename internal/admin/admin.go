// Package admin serves the admin listener: metrics, health, and the profiles of the primary and of the workers. It
// answers plain HTTP on an address that only operators should reach, and refuses requests that a web page makes a
// browser send.
package admin

import (
	"io"
	"net/http"
)

const indexPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Expedite</title>
<h1>Expedite</h1>
<ul>
<li><a href="/metrics">/metrics</a>: the metrics of all workers, for Prometheus
<li><a href="/healthz">/healthz</a>: whether the process lives
<li><a href="/readyz">/readyz</a>: whether clients are served
<li><a href="/debug/pprof/">/debug/pprof/</a>: profiles of the primary; add ?worker=1 for those of a worker
</ul>
`

// Config tells what Handler serves. What is nil is not found.
type Config struct {
	// Metrics is served at /metrics, Ready at /readyz.
	Metrics, Ready http.Handler
	// Worker returns the profiles of worker N at /debug/pprof/?worker=N.
	Worker WorkerProfile
	// Hosts are host names that requests may be for, besides localhost and IP addresses.
	Hosts []string
}

// Handler returns the handler of the admin listener. It serves an index at /, health at /healthz and /readyz, metrics,
// and the profiles of this process at /debug/pprof/. /healthz and /readyz are here, too, for probes that send no PROXY
// header to the public address.
//
// There is no authentication: the address of the listener protects it. Handler answers 403 to a request for a host name
// other than localhost and those in Config.Hosts, and to a request that a page of another origin makes a browser send.
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	if c.Metrics != nil {
		mux.Handle("/metrics", c.Metrics)
	}
	if c.Ready != nil {
		mux.Handle("GET /readyz", c.Ready)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n") // fails only if the client has disconnected
	})
	mux.HandleFunc(profilePath, profiles(c.Worker))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, indexPage) // fails only if the client has disconnected
	})
	trusted := newTrustedHosts(c.Hosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // refuse reads the Referer of links on our own pages
		if why := trusted.refuse(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
