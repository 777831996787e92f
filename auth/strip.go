package auth

import (
	"net/http"
	"strings"

	"github.com/expedite-go/expedite/internal/urlquery"
)

// Strip removes from r everything that Extract could take for a credential, whichever counted, so that application code
// neither sees nor logs it. It changes r, its header, its URL and its RequestURI in place; everything else stays the
// same, byte by byte.
func (e Extractor) Strip(r *http.Request) {
	if r.URL != nil {
		r.URL.RawQuery = e.stripQuery(r.URL.RawQuery)
	}
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		r.RequestURI = path
		if query = e.stripQuery(query); query != "" {
			r.RequestURI += "?" + query
		}
	}
	if !e.NoHeader {
		filter(r.Header, "Authorization", func(v string) string {
			if _, ok := cutBearer(v); ok {
				return ""
			}
			return v
		})
	}
	if !e.NoSubprotocol {
		filter(r.Header, protocolHeader, func(v string) string {
			return without(v, ",", func(p string) bool { return strings.HasPrefix(p, bearerPrefix) })
		})
	}
	if !e.NoCookie {
		filter(r.Header, "Cookie", func(v string) string {
			return without(v, ";", func(c string) bool {
				name, _, _ := strings.Cut(c, "=")
				return strings.Trim(name, " \t") == e.cookie()
			})
		})
	}
}

// stripQuery removes the parameters that hold a token or a ticket.
func (e Extractor) stripQuery(raw string) string {
	if !e.NoQuery {
		raw = urlquery.Strip(raw, e.parameter())
	}
	if !e.NoTicket {
		raw = urlquery.Strip(raw, ticketParameter)
	}
	return raw
}

// without returns list without the elements for which drop returns true. drop gets an element without the space around
// it.
func without(list, separator string, drop func(part string) bool) string {
	dropped := false
	for part := range strings.SplitSeq(list, separator) {
		dropped = dropped || drop(strings.Trim(part, " \t"))
	}
	if !dropped { // the usual case, without copying
		return list
	}
	var kept []string
	for part := range strings.SplitSeq(list, separator) {
		if !drop(strings.Trim(part, " \t")) {
			kept = append(kept, part)
		}
	}
	return strings.TrimLeft(strings.Join(kept, separator), " \t")
}

// filter replaces the values of a field and removes those that become empty. It does not write into the slice, which
// may be shared with another header.
func filter(h http.Header, name string, change func(string) string) {
	values, ok := h[name]
	if !ok {
		return
	}
	kept := make([]string, 0, len(values))
	for _, v := range values {
		changed := change(v)
		if changed != "" || v == "" {
			kept = append(kept, changed)
		}
	}
	if len(kept) == 0 {
		delete(h, name)
		return
	}
	h[name] = kept
}
