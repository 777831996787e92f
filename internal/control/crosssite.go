package control

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

// adminHosts are the names, beside localhost and addresses, that requests to the admin listener may be for.
type adminHosts []string

// CheckAdminHost reports what is wrong with a name for AdminHandler.
func CheckAdminHost(name string) error {
	if name == "" || strings.ContainsAny(name, ":/@*[] \t\r\n,") {
		return fmt.Errorf("%q is no host name: want one like metrics.example.com, without scheme, port or *", name)
	}
	return nil
}

// newAdminHosts gives names the form that has compares.
func newAdminHosts(names []string) adminHosts {
	hosts := make(adminHosts, 0, len(names))
	for _, name := range names {
		hosts = append(hosts, canonicalHost(name))
	}
	return hosts
}

// refuse says why a request is not answered, or nothing. A page that a browser shows can send requests to every address
// that the browser reaches. It must not start profiles or, by a name that its owner lets resolve to this listener (DNS
// rebinding), read what is served. Programs such as curl and Prometheus send none of these header fields but Host.
func (h adminHosts) refuse(r *http.Request) (why string) {
	if !h.trusts(r.Host) {
		return "this listener answers to localhost, to addresses, to the host that it was told to listen on, and to " +
			"Config.AdminHosts (--admin-hosts), not to other names"
	}
	sites := r.Header.Values("Sec-Fetch-Site")
	for _, site := range sites {
		if site != "same-origin" && site != "none" {
			return "a page or link of another origin has sent this request (Sec-Fetch-Site: " + site + "): " +
				"type or paste the address into the browser instead"
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !h.owns(origin, r.Host) {
			return "a page of another origin has sent this request: " +
				"Config.AdminHosts (--admin-hosts) may name the host of a reverse proxy"
		}
	}
	// Browsers leave Sec-Fetch-Site out unless the server is local or has TLS, and Origin out of simple requests.
	if len(sites) == 0 && isBrowser(r) && startsProfile(r) && !h.owns(r.Referer(), r.Host) {
		return "a page of another origin may have sent this request: follow a link of " + profilePath +
			", or use another program than a browser"
	}
	return ""
}

// trusts says whether a Host header cannot come from a name that an attacker made resolve to us: it is an address, a
// name that always means this machine (RFC 6761 §6.3), one that the operator gave, or absent, which browsers never do.
func (h adminHosts) trusts(host string) bool {
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

// owns says whether an origin, or the address of a page, is of the host and port that a request is for, or of a host
// that the operator named: a reverse proxy may pass requests on with another Host, and by another port.
func (h adminHosts) owns(page, host string) bool {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, host) || slices.Contains(h, canonicalHost(u.Hostname()))
}

// canonicalHost is a name in lower case, without the dot of the root.
func canonicalHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isBrowser says whether the User-Agent is that of a browser: all of them begin with the same word, and a page cannot
// change it without asking the server first.
func isBrowser(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// startsProfile says whether a request is for more than a page of links.
func startsProfile(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, profilePath) && r.URL.Path != profilePath
}
