package control

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
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
// profiles of this process, and with ?worker=N those of a worker; a nil worker has none. Requests whose Host is a name
// other than localhost get 403: a page that a browser on this machine shows could otherwise read them, by a name of its
// own that resolves to a loopback address (DNS rebinding).
// Nobody is asked for a password: the listener's address is the protection. A nil metrics is none.
func AdminHandler(metrics http.Handler, worker WorkerProfile) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("/metrics", metrics)
	}
	mux.HandleFunc(profilePath, profiles(worker))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, adminPage) // who went away misses nothing
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !trustedHost(r.Host) {
			http.Error(w, "this listener answers to localhost and to addresses, not to names", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		mux.ServeHTTP(w, r)
	})
}

// trustedHost says whether a Host header cannot come from a name that an attacker made resolve to us: it is an
// address, a name that always means this machine (RFC 6761 §6.3), or absent, which browsers never do.
func trustedHost(host string) bool {
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
