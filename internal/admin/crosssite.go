package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// trustedHosts lists the host names, besides localhost and IP addresses, that requests may be for.
type trustedHosts []string

// CheckHost returns an error if name cannot be one of the hosts that [Handler] takes.
func CheckHost(name string) error {
	if name == "" || strings.ContainsAny(name, ":/@*[] \t\r\n,") {
		return fmt.Errorf("%q is not a host name: want one like metrics.example.com, without scheme, port or *", name)
	}
	return nil
}

func newTrustedHosts(names []string) trustedHosts {
	hosts := make(trustedHosts, 0, len(names))
	for _, name := range names {
		hosts = append(hosts, canonicalHost(name))
	}
	return hosts
}

// refuse returns the reason to refuse a request, or "".
//
// A page that a browser shows can send requests to every address that the browser reaches. Such a page must not start
// profiles. It must not read responses either, which it could with a name that resolves to this listener (DNS
// rebinding). Programs such as curl and Prometheus send none of the header fields that refuse examines, except Host.
func (h trustedHosts) refuse(r *http.Request) (why string) {
	if !h.trusts(r.Host) {
		return "this listener answers requests for localhost, IP addresses, the host that it listens on, and the hosts in " +
			"Config.AdminHosts (--admin-hosts), and refuses other names"
	}
	sites := r.Header.Values("Sec-Fetch-Site")
	for _, site := range sites {
		if site != "same-origin" && site != "none" {
			return "a page or link of another origin sent this request (Sec-Fetch-Site: " + site + "): " +
				"type or paste the address into the browser instead"
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !h.owns(origin, r.Host) {
			return "a page of another origin sent this request: " +
				"if a reverse proxy passes requests on, name its host in Config.AdminHosts (--admin-hosts)"
		}
	}
	// Browsers send Sec-Fetch-Site only to local servers and over TLS, and omit Origin from simple requests.
	if len(sites) == 0 && isBrowser(r) && startsProfile(r) && !h.owns(r.Referer(), r.Host) {
		return "a page of another origin may have sent this request: follow a link of " + profilePath +
			", or use a program other than a browser"
	}
	return ""
}

// trusts reports whether a Host header cannot be a name that an attacker made resolve to this machine. It trusts IP
// addresses, names that always mean this machine (RFC 6761 §6.3), names that the operator configured, and an absent
// Host, because browsers always send one.
func (h trustedHosts) trusts(host string) bool {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = canonicalHost(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(h, host)
}

// owns reports whether a page, given as an origin or a URL, belongs to the host and port that a request is for, or to
// a configured host. A configured host matches on any port, because a reverse proxy may change both Host and port.
func (h trustedHosts) owns(page, host string) bool {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, host) || slices.Contains(h, canonicalHost(u.Hostname()))
}

// canonicalHost returns name in lower case and without a trailing dot.
func canonicalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isBrowser reports whether the User-Agent is that of a browser. All of them begin with Mozilla/, and a page cannot
// change the field without a preflight request, which is refused.
func isBrowser(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// startsProfile reports whether a request is for a profile rather than for the index of profiles.
func startsProfile(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, profilePath) && r.URL.Path != profilePath
}
