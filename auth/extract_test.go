package auth_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/auth"
)

// request makes a request of a target and header lines "Name: value".
func request(t testing.TB, target string, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "app.example.com"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

const (
	own     = "Origin: https://app.example.com"
	foreign = "Origin: https://evil.example"
)

func TestExtract(t *testing.T) {
	for _, tt := range []struct {
		name   string
		e      auth.Extractor
		target string
		header []string
		token  string
		source auth.Source
		bad    string // a part of the message
	}{
		{name: "nothing", target: "/?a=b"},
		{name: "header", target: "/", header: []string{"Authorization: Bearer abc.d-e_f"}, token: "abc.d-e_f", source: auth.SourceHeader},
		{name: "header in other letters", target: "/", header: []string{"authorization: bEARER abc"}, token: "abc", source: auth.SourceHeader},
		{name: "header with more space", target: "/", header: []string{"Authorization: Bearer   abc"}, token: "abc", source: auth.SourceHeader},
		{name: "header with padding and a bar", target: "/", header: []string{"Authorization: Bearer 1|~ab!=="}, token: "1|~ab!==", source: auth.SourceHeader},
		{name: "basic is no token", target: "/", header: []string{"Authorization: Basic YTpi"}},
		{name: "basic beside a token in the query", target: "/?access_token=q", header: []string{"Authorization: Basic YTpi"}, token: "q", source: auth.SourceQuery},
		{name: "a scheme that is as long as bearer", target: "/", header: []string{"Authorization: Digest abc"}},
		{name: "a shorter scheme with nothing", target: "/", header: []string{"Authorization: Basic"}},
		{name: "a scheme that begins like bearer", target: "/", header: []string{"Authorization: BearerX abc"}},
		{name: "bearer with nothing", target: "/", header: []string{"Authorization: Bearer"}, bad: "Bearer TOKEN"},
		{name: "bearer with space only", target: "/", header: []string{"Authorization: Bearer  "}, bad: "Bearer TOKEN"},
		{name: "bearer with a tab", target: "/", header: []string{"Authorization: Bearer\tabc"}, bad: "Bearer TOKEN"},
		{name: "bearer with two tokens", target: "/", header: []string{"Authorization: Bearer a b"}, bad: "Bearer TOKEN"},
		{name: "bearer with a list", target: "/", header: []string{"Authorization: Bearer a, Basic b"}, bad: "Bearer TOKEN"},
		{name: "bearer twice", target: "/", header: []string{"Authorization: Bearer a", "Authorization: Bearer b"}, bad: "several"},
		{name: "bearer beside basic", target: "/", header: []string{"Authorization: Basic a", "Authorization: Bearer b"}, bad: "several"},
		{name: "subprotocol", target: "/", header: []string{"Sec-WebSocket-Protocol: chat, bearer.abc"}, token: "abc", source: auth.SourceSubprotocol},
		{name: "subprotocol in front", target: "/", header: []string{"Sec-WebSocket-Protocol: bearer.abc,chat"}, token: "abc", source: auth.SourceSubprotocol},
		{name: "subprotocols in two fields", target: "/", header: []string{"Sec-WebSocket-Protocol: bearer.abc", "Sec-WebSocket-Protocol: chat"}, token: "abc", source: auth.SourceSubprotocol},
		{name: "the same twice", target: "/", header: []string{"Sec-WebSocket-Protocol: bearer.abc, chat, bearer.abc"}, token: "abc", source: auth.SourceSubprotocol},
		{name: "subprotocol alone", target: "/", header: []string{"Sec-WebSocket-Protocol: bearer.abc"}, bad: "real subprotocol next to"},
		{name: "several subprotocols", target: "/", header: []string{"Sec-WebSocket-Protocol: chat, bearer.a, bearer.b"}, bad: "several"},
		{name: "empty subprotocol", target: "/", header: []string{"Sec-WebSocket-Protocol: chat, bearer."}, bad: "empty"},
		{name: "subprotocol that begins like it", target: "/", header: []string{"Sec-WebSocket-Protocol: bearers"}},
		{name: "query", target: "/?a=1&access_token=abc&b=2", token: "abc", source: auth.SourceQuery},
		{name: "query that is encoded", target: "/?access%5Ftoken=ab%2Bc", token: "ab+c", source: auth.SourceQuery},
		{name: "query twice", target: "/?access_token=a&access_token=a", bad: "twice"},
		{name: "query twice, once in disguise", target: "/?access_token=a&access%5ftoken=b", bad: "twice"},
		{name: "query that is empty", target: "/?access_token=", bad: "empty"},
		{name: "query without a value", target: "/?access_token", bad: "empty"},
		{name: "query that is encoded badly", target: "/?access_token=%zz", bad: "encoded"},
		{name: "query with a space", target: "/?access_token=a+b", bad: "characters"},
		{name: "query in capitals", target: "/?ACCESS_TOKEN=a"},
		{name: "query of another name", e: auth.Extractor{QueryParameter: "jwt"}, target: "/?access_token=a&jwt=b", token: "b", source: auth.SourceQuery},
		{name: "query behind a semicolon", target: "/?a=1;access_token=b"},
		{name: "cookie of the own page", target: "/", header: []string{own, "Cookie: a=b; access_token=abc"}, token: "abc", source: auth.SourceCookie},
		{name: "cookie of another name", e: auth.Extractor{Cookie: "sid"}, target: "/", header: []string{own, "Cookie: sid=x; access_token=abc"}, token: "x", source: auth.SourceCookie},
		{name: "cookie without an origin", target: "/", header: []string{"Cookie: access_token=abc"}},
		{name: "cookie of a foreign page", target: "/", header: []string{foreign, "Cookie: access_token=abc"}},
		{name: "cookie of another port", target: "/", header: []string{own + ":8443", "Cookie: access_token=abc"}},
		{name: "cookie twice", target: "/", header: []string{own, "Cookie: access_token=a; access_token=b"}, bad: "twice"},
		{name: "cookie twice, equal", target: "/", header: []string{own, "Cookie: access_token=a", "Cookie: access_token=a"}, token: "a", source: auth.SourceCookie},
		{name: "ticket", target: "/?ticket=t", token: "t", source: auth.SourceTicket},
		{name: "ticket twice", target: "/?ticket=t&ticket=t", bad: "twice"},
		{
			name: "all at once: the ticket", target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"}, token: "t", source: auth.SourceTicket,
		},
		{
			name: "all but the ticket: the header", e: auth.Extractor{NoTicket: true}, target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"}, token: "h", source: auth.SourceHeader,
		},
		{
			name: "then the subprotocol", e: auth.Extractor{NoTicket: true, NoHeader: true}, target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"}, token: "p", source: auth.SourceSubprotocol,
		},
		{
			name: "then the query", e: auth.Extractor{NoTicket: true, NoHeader: true, NoSubprotocol: true}, target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"}, token: "q", source: auth.SourceQuery,
		},
		{
			name: "then the cookie", e: auth.Extractor{NoTicket: true, NoHeader: true, NoSubprotocol: true, NoQuery: true}, target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"}, token: "c", source: auth.SourceCookie,
		},
		{
			name: "everything off", e: auth.Extractor{NoTicket: true, NoHeader: true, NoSubprotocol: true, NoQuery: true, NoCookie: true}, target: "/?access_token=q&ticket=t",
			header: []string{"Authorization: Bearer h", "Sec-WebSocket-Protocol: chat, bearer.p", own, "Cookie: access_token=c"},
		},
		{name: "as long as may be", target: "/?access_token=" + strings.Repeat("a", 8<<10), token: strings.Repeat("a", 8<<10), source: auth.SourceQuery},
		{name: "too long", target: "/?access_token=" + strings.Repeat("a", 8<<10+1), bad: "longer than 8192"},
		{name: "longer than it was set", e: auth.Extractor{MaxToken: 3}, target: "/", header: []string{"Authorization: Bearer abcd"}, bad: "longer than 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.e.Extract(request(t, tt.target, tt.header...), nil)
			if tt.bad != "" {
				e := auth.AsError(err)
				if e == nil || e.Reason != auth.ReasonMalformed || !strings.Contains(e.Message, tt.bad) || !strings.Contains(e.Challenge(), `error="invalid_request"`) {
					t.Errorf("got %v, %v, want a malformed request: %s", got, err, tt.bad)
				}
				return
			}
			if err != nil || got.Token != tt.token || got.Source != tt.source {
				t.Errorf("got %q from %v, %v, want %q from %v", got.Token, got.Source, err, tt.token, tt.source)
			}
		})
	}
}

// TestTokenCharacters: a token has visible ASCII, but not what separates values in header fields.
func TestTokenCharacters(t *testing.T) {
	for c := range 256 {
		r := request(t, fmt.Sprintf("/?access_token=a%%%02xb", c))
		_, err := auth.Extractor{}.Extract(r, nil)
		if want := c > ' ' && c < 0x7f && !strings.ContainsRune("\",;\\", rune(c)); (err == nil) != want {
			t.Errorf("character %#02x: got %v, want it accepted: %v", c, err, want)
		}
	}
}

// TestCredentialIsSilent: printing a credential in any way does not show the token.
func TestCredentialIsSilent(t *testing.T) {
	c := auth.Credential{Token: "very-secret-token", Source: auth.SourceHeader}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "c", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "c", &c)
	said := fmt.Sprintf("%v %+v %#v %s %q ", c, c, c, c, c) + fmt.Sprint(&c) + fmt.Sprintf("%+v", struct{ C auth.Credential }{c}) + log.String()
	if strings.Contains(said, "secret") {
		t.Errorf("got %s", said)
	}
	if !strings.Contains(said, "header "+auth.HashToken(c.Token)[:8]) {
		t.Errorf("got %s, want the source and a fingerprint", said)
	}
	if got := (auth.Credential{}).String(); got != "none" {
		t.Errorf("got %q, want none", got)
	}
	if got := (auth.Credential{}).LogValue().String(); got != "[source=none]" {
		t.Errorf("got %s, want no fingerprint of nothing", got)
	}
	if got, want := c.LogValue().String(), "[source=header fingerprint="+auth.HashToken(c.Token)[:8]+"]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStrip(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		e                    auth.Extractor
		target, want         string
		header, wantLeft     []string
		absolute             bool
		requestURI, queryOff string
	}{
		{name: "nothing to strip", target: "/a%20b?x=%41&y", want: "/a%20b?x=%41&y", header: []string{"X-A: b"}, wantLeft: []string{"X-A: b"}},
		{name: "query", target: "/p?b=2&access_token=s&a=%41+1&&c", want: "/p?b=2&a=%41+1&&c"},
		{name: "query twice and in disguise", target: "/p?access_token=s&x&access%5Ftoken=s&access_token", want: "/p?x"},
		{name: "query with nothing else", target: "/p?access_token=s", want: "/p"},
		{name: "ticket", target: "/p?ticket=s&a", want: "/p?a"},
		{name: "another name", e: auth.Extractor{QueryParameter: "jwt"}, target: "/p?jwt=s&access_token=mine", want: "/p?access_token=mine"},
		{name: "ways that are off", e: auth.Extractor{NoQuery: true, NoTicket: true}, target: "/p?ticket=7&access_token=mine", want: "/p?ticket=7&access_token=mine"},
		{
			name: "header", target: "/", want: "/",
			header:   []string{"Authorization: Bearer s", "Authorization: Basic YTpi", "Authorization: bearer", "X-Authorization: x"},
			wantLeft: []string{"Authorization: Basic YTpi", "X-Authorization: x"},
		},
		{
			name: "header that is off", e: auth.Extractor{NoHeader: true}, target: "/", want: "/",
			header: []string{"Authorization: Bearer mine"}, wantLeft: []string{"Authorization: Bearer mine"},
		},
		{
			name: "subprotocols", target: "/", want: "/",
			header:   []string{"Sec-WebSocket-Protocol: bearer.s, chat,  v2 , bearer.s2", "Sec-WebSocket-Protocol: bearer.s", "Sec-WebSocket-Protocol: v3"},
			wantLeft: []string{"Sec-WebSocket-Protocol: chat,  v2 ", "Sec-WebSocket-Protocol: v3"},
		},
		{
			name: "cookies", target: "/", want: "/",
			header:   []string{`Cookie: a="1"; access_token=s; b=2;c=%20`, "Cookie: access_token=s", "Cookie: access_token2=x"},
			wantLeft: []string{`Cookie: a="1"; b=2;c=%20`, "Cookie: access_token2=x"},
		},
		{
			name: "cookie in front", target: "/", want: "/",
			header: []string{`Cookie: access_token=s; b=2`}, wantLeft: []string{`Cookie: b=2`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, tt.target, tt.header...)
			shared := r.Header["Cookie"]
			before := strings.Join(shared, "|")
			tt.e.Strip(r)
			if got := r.URL.RequestURI(); got != tt.want {
				t.Errorf("URL: got %q, want %q", got, tt.want)
			}
			if r.RequestURI != tt.want {
				t.Errorf("RequestURI: got %q, want %q", r.RequestURI, tt.want)
			}
			want := request(t, "/", tt.wantLeft...).Header
			if got := fmt.Sprint(r.Header); got != fmt.Sprint(want) {
				t.Errorf("header: got %q, want %q", got, fmt.Sprint(want))
			}
			if got := strings.Join(shared, "|"); got != before {
				t.Errorf("a list that others may share was changed: got %q", got)
			}
			if c, err := tt.e.Extract(r, nil); err != nil || c != (auth.Credential{}) {
				t.Errorf("behind Strip there is still %v, %v", c, err)
			}
		})
	}
	r := request(t, "/?access_token=s")
	r.RequestURI, r.URL = "http://app.example.com/?access_token=s&x", nil
	auth.Extractor{}.Strip(r)
	if r.RequestURI != "http://app.example.com/?x" {
		t.Errorf("got %q", r.RequestURI)
	}
}

// FuzzExtract: what Extract finds is gone after Strip, and net/http understands the rest as before.
func FuzzExtract(f *testing.F) {
	f.Add("a=1&access_token=t", "Bearer x", "chat, bearer.y", "a=b; access_token=z")
	f.Add("access%5ftoken=t;x&ticket", "bearer", "bearer.a,bearer.b", "access_token=\"a\"")
	f.Fuzz(func(t *testing.T, query, authorization, protocol, cookie string) {
		r := request(t, "/")
		r.URL.RawQuery, r.RequestURI = query, "/?"+query
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Authorization", authorization)
		r.Header.Set("Sec-WebSocket-Protocol", protocol)
		r.Header.Set("Cookie", cookie)
		other := r.URL.Query()
		other.Del("access_token")
		other.Del("ticket")
		var e auth.Extractor
		c, err := e.Extract(r, nil)
		if err != nil && c != (auth.Credential{}) {
			t.Errorf("got %v beside %v", c, err)
		}
		if _, ok := errors.AsType[*auth.Error](err); err != nil && !ok {
			t.Errorf("got %T", err)
		}
		e.Strip(r)
		if c, err := e.Extract(r, nil); err != nil || c != (auth.Credential{}) {
			t.Errorf("behind Strip there is still %v, %v", c, err)
		}
		if got := r.URL.Query(); got.Encode() != other.Encode() {
			t.Errorf("query: got %q, want %q", got.Encode(), other.Encode())
		}
		for _, c := range r.Cookies() {
			if c.Name == "access_token" {
				t.Errorf("the cookie is still there")
			}
		}
	})
}
