package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins lists the pages that may connect in addition to those of the server's own host. An entry is an exact origin
// (https://app.example.com), all subdomains of a host at any depth without the host itself (https://*.example.com),
// null, or * for every page. ParseOrigins makes a list. The zero Origins allows only the server's own host.
//
// A browser lets any page open a WebSocket to any server and sends the server's cookies along; SameSite does not stop a
// page on another port of the same host. Only the Origin header tells such pages apart. RFC 6455 §10.2.
type Origins []string

// Entries that are not origins.
const (
	anyOrigin  = "*"
	nullOrigin = "null"
)

// ParseOrigins parses a list of origins and normalizes them for comparison: lower case, without the default port. An
// empty entry is an error, because it usually comes from an empty variable.
func ParseOrigins(list []string) (Origins, error) {
	origins := make(Origins, 0, len(list))
	for _, entry := range list {
		s := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(entry), "/"))
		if s == anyOrigin || s == nullOrigin {
			origins = append(origins, s)
			continue
		}
		o, err := parseOrigin(s)
		if err != nil {
			return nil, fmt.Errorf("auth: origin %q: %w: want one like https://app.example.com, "+
				"https://*.example.com or *", entry, err)
		}
		host, isWildcard := strings.CutPrefix(o.host, "*.")
		if strings.Contains(host, "*") || isWildcard && !strings.Contains(host, ".") {
			return nil, fmt.Errorf("auth: origin %q: * is allowed for subdomains only, as in https://*.example.com", entry)
		}
		origins = append(origins, o.String())
	}
	return origins, nil
}

// Allows reports whether the page that made r may connect. A request without an Origin header does not come from a
// browser and is allowed. A page of the server's own host and port is allowed; another port is another origin. The
// origin null, which sandboxed frames and files send, is allowed only if it or * is listed.
func (o Origins) Allows(r *http.Request) bool {
	values := r.Header.Values("Origin")
	return len(values) == 0 || slices.Contains(o, anyOrigin) || len(values) == 1 && o.match(values[0], r)
}

// Matches reports whether r comes from a page that may use this server's cookies: it has an Origin header that matches
// the server's own host or a listed origin. * and null do not count. A list with * is for clients that send their token
// themselves; with cookies, it would let every page on the web act for the user (cross-site WebSocket hijacking). A
// frame with the origin null can be part of any page.
func (o Origins) Matches(r *http.Request) bool {
	values := r.Header.Values("Origin")
	return len(values) == 1 && values[0] != nullOrigin && o.match(values[0], r)
}

// match reports whether value is the server's own origin or a listed one.
func (o Origins) match(value string, r *http.Request) bool {
	if value == nullOrigin {
		return slices.Contains(o, nullOrigin)
	}
	page, err := parseOrigin(strings.ToLower(value))
	if err != nil || strings.Contains(page.host, "*") {
		return false
	}
	return page.isHost(r) || slices.ContainsFunc(o, page.isListed)
}

// origin is a scheme, host and port. RFC 6454 §4.
type origin struct{ scheme, host, port string }

// String returns the serialization of RFC 6454 §6.2.
func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.port == defaultPort(o.scheme) {
		return o.scheme + "://" + host
	}
	return o.scheme + "://" + host + ":" + o.port
}

// parseOrigin parses an origin in lower case.
func parseOrigin(s string) (origin, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok || scheme == "" || rest == "":
		return origin{}, errors.New("no scheme or no host")
	case strings.ContainsAny(rest, "/?#"):
		return origin{}, errors.New("has a path")
	case strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r > '~' || r == '@' || r == '\\' }):
		return origin{}, errors.New("has characters that no host has")
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Hostname() == "" {
		return origin{}, errors.New("no valid host")
	}
	o := origin{scheme, u.Hostname(), u.Port()}
	if o.port == "" {
		o.port = defaultPort(scheme)
	}
	return o, nil
}

func defaultPort(scheme string) string {
	switch scheme {
	case "https", "wss":
		return "443"
	case "http", "ws":
		return "80"
	default:
		return ""
	}
}

// isHost reports whether r was sent to this origin. Behind a proxy that terminates TLS, the server may not know its own
// scheme: a Host without a port then has the default port of the page's scheme.
func (o origin) isHost(r *http.Request) bool {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]"), defaultPort(o.scheme)
		if r.TLS != nil || proxiedTLS(r) {
			port = defaultPort("https")
		}
	}
	return host != "" && strings.EqualFold(host, o.host) && port == o.port && o.port != ""
}

// proxiedTLS reports whether a trusted proxy has told that the client of r uses TLS. The server then sets the scheme of
// the URL, which net/http leaves empty unless the client has sent a whole URL.
func proxiedTLS(r *http.Request) bool {
	return r.URL != nil && r.URL.Host == "" && r.URL.Scheme == "https"
}

// isListed reports whether an entry matches this origin.
func (o origin) isListed(entry string) bool {
	scheme, rest, ok := strings.Cut(entry, "://*.")
	if !ok {
		return entry == o.String()
	}
	host, port, ok := strings.Cut(rest, ":")
	if !ok {
		port = defaultPort(scheme)
	}
	name, ok := strings.CutSuffix(o.host, "."+host)
	return ok && name != "" && scheme == o.scheme && port == o.port
}
