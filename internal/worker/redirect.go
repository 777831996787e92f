package worker

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/listener"
)

// challengePath begins the paths at which authorities look for the proof that this server has a name. They ask without
// TLS first. RFC 8555 §8.3.
const challengePath = "/.well-known/acme-challenge/"

// redirects reports whether a request is redirected to TLS. Health checks and the challenges of authorities are not:
// those who ask need not verify the certificate, or there is none yet.
func (h *fallbackHandler) redirects(r *http.Request) bool {
	x, ok := r.Context().Value(requestsKey{}).(*engine.Requests)
	if !ok || !x.Redirects() || isHealthCheck(r.URL.Path) {
		return false
	}
	token, challenge := strings.CutPrefix(r.URL.Path, challengePath)
	return !challenge || token == "" || strings.Contains(token, "/")
}

// redirect answers a request with 308 and its own URL, but with https and a port. Clients that follow it repeat their
// method and body. RFC 9110 §15.4.9.
func redirect(w http.ResponseWriter, r *http.Request, port int) {
	host, ok := hostOf(r.Host)
	if !ok || !strings.HasPrefix(r.URL.Path, "/") {
		http.Error(w, "this address only redirects to https://, and the request does not name a host", http.StatusBadRequest)
		return
	}
	if port != httpsPort {
		host += ":" + strconv.Itoa(port)
	}
	to := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	// Not in caches: the operator may change his mind. The query may have a token: the text does not repeat it.
	w.Header().Set("Cache-Control", "no-store")
	if r.Header.Get("Upgrade") != "" { // browsers do not follow it
		http.Error(w, "this address only redirects: open the WebSocket with wss://"+host, http.StatusPermanentRedirect)
		return
	}
	http.Error(w, "this address only redirects to https://"+host, http.StatusPermanentRedirect)
}

// hostOf returns the host of a Host field without its port, with brackets if it is an IPv6 address. It reports false
// for what cannot be a host: the answer must not be a URL that leads elsewhere. RFC 9110 §7.2.
func hostOf(field string) (host string, ok bool) {
	host = field
	if name, port, err := net.SplitHostPort(field); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", false
		}
		if host = name; strings.HasPrefix(field, "[") {
			host = "[" + name + "]"
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return host, closed && err == nil && addr.Is6() && addr.Zone() == ""
	}
	for _, b := range []byte(host) {
		letter := 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9'
		if !letter && b != '.' && b != '-' && b != '_' {
			return "", false
		}
	}
	return host, host != "" && len(host) <= maxHost
}

const (
	maxHost   = 254 // the longest name of a host, with a dot at its end. RFC 1035 §2.3.4
	httpsPort = 443
)

// securePort returns the port that redirected clients use: 443, if there is an address with TLS at that port, or if the
// system has chosen all ports; or else that of the first address with TLS.
func securePort(specs []listener.Spec) int {
	first := 0
	for _, s := range specs {
		port, ok := s.Port()
		if !ok || port == 0 || s.Plain == listener.On {
			continue
		}
		if port == httpsPort {
			return httpsPort
		}
		if first == 0 {
			first = port
		}
	}
	if first == 0 {
		return httpsPort
	}
	return first
}
