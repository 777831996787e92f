package settings

import (
	"net/url"
	"regexp"
	"strings"
)

// mask is shown in place of a secret.
const mask = "********"

// hasPassword reports whether a URL contains a password. It may be too broken to be parsed.
func hasPassword(text string) bool { return maskPassword(text) != text }

// secretParameter is a parameter of a query whose name tells that it is a secret.
var secretParameter = regexp.MustCompile(`(?i)([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]+`)

// maskPassword returns a URL with a mask in place of its password, and of secrets in its query.
func maskPassword(text string) string {
	text = secretParameter.ReplaceAllString(text, "${1}"+mask)
	if u, err := url.Parse(text); err == nil && u.User == nil && u.Host != "" {
		return text
	}
	return maskUser(text)
}

// maskUser returns a URL with a mask in place of the password before the host.
func maskUser(url string) string {
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
