package control

import (
	"io"
	"net/http"
)

const adminPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Expedite</title>
<h1>Expedite</h1>
<ul>
<li><a href="/metrics">/metrics</a> of all workers, for Prometheus
<li><a href="/debug/pprof/">/debug/pprof/</a> profiles of the primary; ?worker=1 has those of a worker
</ul>
`

// AdminHandler is what the admin listener serves: / names the rest, /metrics is the given handler, /debug/pprof/ the
// profiles of this process, and with ?worker=N those of a worker; a nil worker has none. Requests for another name than
// localhost and those in hosts get 403, and so do those that a page of another origin makes a browser send.
// Nobody is asked for a password: the listener's address is the protection. A nil metrics is none.
func AdminHandler(metrics http.Handler, worker WorkerProfile, hosts []string) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("/metrics", metrics)
	}
	mux.HandleFunc(profilePath, profiles(worker))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, adminPage) // who went away misses nothing
	})
	names := newAdminHosts(hosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // refuse wants to see it
		if why := names.refuse(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
