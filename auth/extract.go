package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/expedite-go/expedite/internal/urlquery"
)

// Names in a request.
const (
	defaultParameter = "access_token"
	ticketParameter  = "ticket"
	bearerPrefix     = "bearer."
	protocolHeader   = "Sec-Websocket-Protocol" // in the canonical form of net/http
	defaultMaxToken  = 8 << 10
)

// Extractor finds the credential in a request. It looks for ?ticket=, Authorization: Bearer, a subprotocol
// bearer.<token> next to a real one, ?access_token=, and a cookie, in this order; the first one present counts. The
// zero Extractor looks in all places. It is safe for concurrent use.
type Extractor struct {
	// NoHeader, NoSubprotocol, NoQuery, NoCookie and NoTicket turn off a place. It is then left to the application:
	// Strip does not remove anything from it.
	NoHeader, NoSubprotocol, NoQuery, NoCookie, NoTicket bool
	// QueryParameter is the name of the query parameter. Empty means access_token.
	QueryParameter string
	// Cookie is the name of the cookie. Empty means access_token. The cookie counts only if Origins.Matches reports
	// true.
	Cookie string
	// MaxToken is the maximum length of a token in bytes. 0 means 8 KiB.
	MaxToken int
}

// Credential is a token and its source. The zero Credential means that there is none. Printing it does not show the
// token.
type Credential struct {
	Token  string
	Source Source
}

// String returns the source and eight digits of HashToken.
func (c Credential) String() string {
	if c.Source == SourceNone {
		return c.Source.String()
	}
	return c.Source.String() + " " + c.fingerprint()
}

// GoString returns the same as String, for %#v.
func (c Credential) GoString() string { return "auth.Credential{" + c.String() + "}" }

// LogValue returns the source and eight digits of HashToken.
func (c Credential) LogValue() slog.Value {
	if c.Source == SourceNone {
		return slog.GroupValue(slog.String("source", c.Source.String()))
	}
	return slog.GroupValue(slog.String("source", c.Source.String()), slog.String("fingerprint", c.fingerprint()))
}

func (c Credential) fingerprint() string { return HashToken(c.Token)[:8] }

// Extract returns the credential of r. If there is none, it returns the zero Credential and no error. A malformed one
// is an *Error with ReasonMalformed.
func (e Extractor) Extract(r *http.Request, o Origins) (Credential, error) {
	ways := [...]struct {
		source Source
		off    bool
		find   func() (token string, found bool, err error)
	}{
		{SourceTicket, e.NoTicket, func() (string, bool, error) { return fromQuery(r, ticketParameter) }},
		{SourceHeader, e.NoHeader, func() (string, bool, error) { return fromHeader(r) }},
		{SourceSubprotocol, e.NoSubprotocol, func() (string, bool, error) { return fromSubprotocol(r) }},
		{SourceQuery, e.NoQuery, func() (string, bool, error) { return fromQuery(r, e.parameter()) }},
		{SourceCookie, e.NoCookie || !o.Matches(r), func() (string, bool, error) { return fromCookie(r, e.cookie()) }},
	}
	for _, w := range ways {
		if w.off {
			continue
		}
		token, found, err := w.find()
		if err == nil && found {
			err = e.check(token, w.source)
		}
		if err != nil {
			return Credential{}, err
		}
		if found {
			return Credential{Token: token, Source: w.source}, nil
		}
	}
	return Credential{}, nil
}

func (e Extractor) parameter() string {
	if e.QueryParameter == "" {
		return defaultParameter
	}
	return e.QueryParameter
}

func (e Extractor) cookie() string {
	if e.Cookie == "" {
		return defaultParameter
	}
	return e.Cookie
}

// check checks the form of a token.
func (e Extractor) check(token string, from Source) error {
	limit := e.MaxToken
	if limit <= 0 {
		limit = defaultMaxToken
	}
	switch {
	case token == "":
		return badRequest("the access token is empty (%s)", from)
	case len(token) > limit:
		return badRequest("the access token is longer than %d bytes (%s)", limit, from)
	case !isToken(token):
		return badRequest("the access token contains invalid characters (%s)", from)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return &Error{Reason: ReasonMalformed, Message: fmt.Sprintf(format, args...), request: true}
}

// isToken reports whether s has the form of a token. It accepts more than the b64token of RFC 6750 §2.1, because real
// tokens need it: visible ASCII without the characters that separate values in headers.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// fromHeader looks in Authorization. RFC 6750 §2.1.
func fromHeader(r *http.Request) (token string, found bool, err error) {
	values := r.Header.Values("Authorization")
	for _, v := range values {
		rest, ok := cutBearer(v)
		if !ok {
			continue
		}
		if len(values) > 1 {
			return "", false, badRequest("there are several Authorization fields")
		}
		token = strings.TrimLeft(rest, " ")
		if token == rest || !isToken(token) {
			return "", false, badRequest("the Authorization field is not of the form: Bearer TOKEN")
		}
		found = true
	}
	return token, found, nil
}

// cutBearer removes the scheme, in any case of letters. It reports false for another scheme.
func cutBearer(v string) (rest string, ok bool) {
	const scheme = "bearer"
	v = strings.TrimLeft(v, " \t")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	rest = v[len(scheme):]
	return rest, rest == "" || rest[0] == ' ' || rest[0] == '\t'
}

// fromSubprotocol looks for a subprotocol bearer.<token>, which a page in a browser can set. It requires a real
// subprotocol next to it: the server must choose one of those offered, and never chooses the token.
func fromSubprotocol(r *http.Request) (token string, found bool, err error) {
	beside := false
	for _, v := range r.Header[protocolHeader] {
		for p := range strings.SplitSeq(v, ",") {
			p = strings.Trim(p, " \t")
			t, isBearer := strings.CutPrefix(p, bearerPrefix)
			switch {
			case !isBearer:
				beside = beside || p != ""
			case found && t != token:
				return "", false, badRequest("several different subprotocols bearer.<token> are offered")
			default:
				token, found = t, true
			}
		}
	}
	if found && !beside {
		return "", false, badRequest("offer the name of a real subprotocol next to bearer.<token>: " +
			"the server cannot choose the token")
	}
	return token, found, nil
}

// fromQuery looks for a query parameter.
func fromQuery(r *http.Request, name string) (token string, found bool, err error) {
	if r.URL == nil {
		return "", false, nil
	}
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if !urlquery.Sets(part, name) {
			continue
		}
		if found {
			return "", false, badRequest("the query parameter %s occurs twice", name)
		}
		found = true
		_, value, _ := strings.Cut(part, "=")
		if token, err = url.QueryUnescape(value); err != nil {
			return "", false, badRequest("the query parameter %s is not correctly encoded", name)
		}
	}
	return token, found, nil
}

// fromCookie looks for a cookie. It refuses two different values for one name, because a subdomain can set cookies for
// its siblings.
func fromCookie(r *http.Request, name string) (token string, found bool, err error) {
	for _, c := range r.CookiesNamed(name) {
		if found && c.Value != token {
			return "", false, badRequest("the cookie %s occurs twice with different values", name)
		}
		token, found = c.Value, true
	}
	return token, found, nil
}

var _ slog.LogValuer = Credential{}
