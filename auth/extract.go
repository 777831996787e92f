package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/expedite-go/expedite/internal/urlquery"
)

// The names of what is found in a request.
const (
	defaultParameter = "access_token"
	ticketParameter  = "ticket"
	bearerPrefix     = "bearer."
	protocolHeader   = "Sec-Websocket-Protocol" // as net/http writes it
	defaultMaxToken  = 8 << 10
)

// Extractor finds a client's credential in its request. It looks, in this order, for ?ticket=, Authorization: Bearer, a
// subprotocol bearer.<token> beside a real one, ?access_token=, and a cookie; the first that is there counts. The zero
// Extractor looks everywhere. Any goroutine may use it.
type Extractor struct {
	// NoHeader, NoSubprotocol, NoQuery, NoCookie and NoTicket turn a way off. What is off is the application's: Strip
	// leaves it alone.
	NoHeader, NoSubprotocol, NoQuery, NoCookie, NoTicket bool
	// QueryParameter is the name of the parameter; empty is access_token.
	QueryParameter string
	// Cookie is the name of the cookie; empty is access_token. It counts only if Origins.Matches.
	Cookie string
	// MaxToken is the longest token in bytes; 0 is 8 KiB.
	MaxToken int
}

// Credential is what a client shows. The zero Credential is none. Printing it does not show the token.
type Credential struct {
	Token  string
	Source Source
}

// String is the source and eight digits of HashToken.
func (c Credential) String() string {
	if c.Source == SourceNone {
		return c.Source.String()
	}
	return c.Source.String() + " " + c.fingerprint()
}

// GoString is String, for %#v.
func (c Credential) GoString() string { return "auth.Credential{" + c.String() + "}" }

// LogValue is the source and eight digits of HashToken. It is part of slog.LogValuer.
func (c Credential) LogValue() slog.Value {
	if c.Source == SourceNone {
		return slog.GroupValue(slog.String("source", c.Source.String()))
	}
	return slog.GroupValue(slog.String("source", c.Source.String()), slog.String("fingerprint", c.fingerprint()))
}

func (c Credential) fingerprint() string { return HashToken(c.Token)[:8] }

// Extract finds the credential of r. None is no error; the error of one that makes no sense is an *Error with
// ReasonMalformed.
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

// check says whether a token may be one.
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
		return badRequest("the access token has characters that none may have (%s)", from)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return &Error{Reason: ReasonMalformed, Message: fmt.Sprintf(format, args...), request: true}
}

// isToken is a bit wider than the b64token of RFC 6750 §2.1, as the tokens of this world are: visible ASCII but what
// separates things in headers.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// fromHeader looks into Authorization. RFC 6750 §2.1.
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

// cutBearer takes the scheme off, in any case of letters. It reports false for another scheme.
func cutBearer(v string) (rest string, ok bool) {
	const scheme = "bearer"
	v = strings.TrimLeft(v, " \t")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	rest = v[len(scheme):]
	return rest, rest == "" || rest[0] == ' ' || rest[0] == '\t'
}

// fromSubprotocol looks for a subprotocol bearer.<token>, which a browser's page can set. It wants a real one beside
// it: the server must choose one of those that were offered, and never chooses the token.
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
		return "", false, badRequest("offer the name of a real subprotocol beside bearer.<token>: " +
			"the server cannot choose the token")
	}
	return token, found, nil
}

// fromQuery looks for a parameter.
func fromQuery(r *http.Request, name string) (token string, found bool, err error) {
	if r.URL == nil {
		return "", false, nil
	}
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if !urlquery.Sets(part, name) {
			continue
		}
		if found {
			return "", false, badRequest("the query parameter %s is there twice", name)
		}
		found = true
		_, value, _ := strings.Cut(part, "=")
		if token, err = url.QueryUnescape(value); err != nil {
			return "", false, badRequest("the query parameter %s is not encoded as it should be", name)
		}
	}
	return token, found, nil
}

// fromCookie looks for a cookie. One name with two values is refused: a sub-domain can set cookies for its neighbors.
func fromCookie(r *http.Request, name string) (token string, found bool, err error) {
	for _, c := range r.CookiesNamed(name) {
		if found && c.Value != token {
			return "", false, badRequest("the cookie %s is there twice", name)
		}
		token, found = c.Value, true
	}
	return token, found, nil
}

var _ slog.LogValuer = Credential{}
