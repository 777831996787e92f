// Package admin serves the admin listener: metrics, and the profiles of the primary and of the workers. It answers
// plain HTTP on an address that only operators should reach, and refuses requests that a web page makes a browser send.
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
<li><a href="/debug/pprof/">/debug/pprof/</a>: profiles of the primary; add ?worker=1 for those of a worker
</ul>
`

// Handler returns the handler of the admin listener. It serves an index at /, the given handler at /metrics, the
// profiles of this process at /debug/pprof/, and those of worker N at /debug/pprof/?worker=N. If metrics or worker is
// nil, its path is not found.
//
// There is no authentication: the address of the listener protects it. Handler answers 403 to a request for a host name
// other than localhost and those in hosts, and to a request that a page of another origin makes a browser send.
func Handler(metrics http.Handler, worker WorkerProfile, hosts []string) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("/metrics", metrics)
	}
	mux.HandleFunc(profilePath, profiles(worker))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, indexPage) // fails only if the client has disconnected
	})
	trusted := newTrustedHosts(hosts)
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
