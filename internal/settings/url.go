package settings

import "strings"

// mask is shown in place of a secret.
const mask = "********"

// hasPassword reports whether a URL contains a password. It may be too broken to be parsed.
func hasPassword(url string) bool { return maskPassword(url) != url }

// maskPassword returns a URL with a mask in place of its password.
func maskPassword(url string) string {
	start := strings.Index(url, "://") + len("://")
	if start < len("://") {
		start = 0
	}
	end := strings.LastIndex(url, "@")
	colon := strings.Index(url[start:], ":") + start
	if end < 0 || colon < start || colon >= end-1 {
		return url
	}
	return url[:colon+1] + mask + url[end:]
}
