package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
)

const (
	profilePath = "/debug/pprof/"
	// maxProfileSeconds bounds the seconds parameter of CPU profiles, traces and delta profiles.
	maxProfileSeconds = 60
)

// WorkerProfile answers a request for a profile of the worker in a slot with what [ServeProfile] answers in that
// worker.
type WorkerProfile func(w http.ResponseWriter, r *http.Request, slot int)

// ServeProfile serves the profiles of this process at /debug/pprof/. No profile takes longer than a minute.
func ServeProfile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, profilePath)
	if s := r.URL.Query().Get("seconds"); s != "" {
		if n, err := strconv.ParseFloat(s, 64); err != nil || !(n > 0 && n <= maxProfileSeconds) {
			http.Error(w, fmt.Sprintf("seconds=%q: want more than 0 and up to %d", s, maxProfileSeconds), http.StatusBadRequest)
			return
		}
		if _, err := strconv.Atoi(s); err != nil && name == "profile" { // pprof would use its default, 30
			http.Error(w, fmt.Sprintf("seconds=%q: want a whole number", s), http.StatusBadRequest)
			return
		}
	}
	switch name {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}

// profiles returns a handler for the profiles of this process or, with ?worker=N, of a worker.
func profiles(worker WorkerProfile) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if !q.Has("worker") {
			ServeProfile(w, r)
			return
		}
		slot, err := strconv.Atoi(q.Get("worker"))
		if err != nil || slot < 1 || worker == nil {
			http.Error(w, fmt.Sprintf("worker=%q: want the number of a worker", q.Get("worker")), http.StatusNotFound)
			return
		}
		worker(w, r, slot)
	}
}
