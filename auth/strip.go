package auth

import (
	"net/http"
	"strings"

	"github.com/expedite-go/expedite/internal/urlquery"
)

// Strip removes from r whatever Extract could take for a credential, whichever counted: application code shall not see
// it, and not write it into its log. It changes r and its header, URL and RequestURI in place; all else stays as it
// was, byte by byte.
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

// without leaves out the parts of a list for which drop says so; it is asked without the space around a part.
func without(list, separator string, drop func(part string) bool) string {
	dropped := false
	for part := range strings.SplitSeq(list, separator) {
		dropped = dropped || drop(strings.Trim(part, " \t"))
	}
	if !dropped { // most often; nothing is copied
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

// filter changes the values of a field, and removes those that become empty. A list that shares its storage with
// another header is not written into.
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
