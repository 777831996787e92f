// Package urlquery finds and removes parameters of a URL's raw query without touching the other parameters: their order
// and their encoding stay as they are.
package urlquery

import (
	"net/url"
	"slices"
	"strings"
)

// Strip returns the query raw without the parameters that have one of the names. It returns raw itself if there are
// none.
func Strip(raw string, names ...string) string {
	drop := func(part string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return Sets(part, name) })
	}
	found := false
	for part := range strings.SplitSeq(raw, "&") {
		found = found || drop(part)
	}
	if !found {
		return raw
	}
	var kept []string
	for part := range strings.SplitSeq(raw, "&") {
		if !drop(part) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// Sets reports whether part, which is what lies between two &, sets the parameter that is called name when it is
// unescaped.
func Sets(part, name string) bool {
	key, _, _ := strings.Cut(part, "=")
	if key == name {
		return true
	}
	if !strings.ContainsAny(key, "%+") {
		return false
	}
	key, err := url.QueryUnescape(key)
	return err == nil && key == name
}
