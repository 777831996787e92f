package route

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// mux is an http.ServeMux with the patterns of a set, which reports what matched.
type mux struct {
	http.ServeMux
	index      int
	values     []string
	redirected bool // to the path with a slash at its end, which paths here are not
}

// newMux returns nil if the ServeMux refuses the patterns.
func newMux(list []*Pattern) (m *mux) {
	defer func() {
		if recover() != nil {
			m = nil
		}
	}()
	m = new(mux)
	for i, p := range list {
		text := p.String()
		if strings.HasSuffix(text, "/") {
			text += "{$}" // here a slash at the end matches only itself
		}
		m.HandleFunc(text, func(_ http.ResponseWriter, r *http.Request) {
			m.index, m.values = i, nil
			for _, name := range p.Names() {
				m.values = append(m.values, r.PathValue(name))
			}
		})
	}
	return m
}

// match returns the pattern that the ServeMux finds; -1 is none.
func (m *mux) match(path string, u *url.URL) (int, []string) {
	m.index, m.values, m.redirected = -1, nil, false
	m.ServeHTTP(statusWriter{m}, &http.Request{Method: "GET", URL: u, RequestURI: path})
	return m.index, m.values
}

type statusWriter struct{ mux *mux }

func (statusWriter) Header() http.Header         { return http.Header{} }
func (statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w statusWriter) WriteHeader(status int)    { w.mux.redirected = status/100 == 3 }

// FuzzServeMux checks that patterns conflict and match as they do in an http.ServeMux, where both have the same rules:
// all but methods, hosts, and paths that a ServeMux would clean.
func FuzzServeMux(f *testing.F) {
	for _, s := range [][2]string{
		{"/a\n/{x}\n/{x}/b\n/a/{rest...}", "/a/b"},
		{"/a/{x}\n/{x}/b", "/a/b"},
		{"/\n/a/\n/a/{x}\n/{rest...}", "/a/"},
		{"/a%2Fb\n/a/b\n/{x}", "/a%2fb"},
		{"/{a}/{b}/{c}\n/{a}/x/{c}\n/{a}/{rest...}", "/1/x/3"},
		{"/a\n/{$}", "/%61"},
		{"/{x...}\n/a/{x}/c\n/a/b/{x...}", "/a/b/%2F/"},
		{"/\n/0/{A}/\n/{A...}", "/0/0lll"},
		{"/a/{x}/cb\n/a/{x}/", "/a/%2F/"},
		{"/a/{b}/{$}\n/a/{b}/{c...}", "/a/b/"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, patterns, path string) {
		var list []*Pattern
		for text := range strings.SplitSeq(patterns, "\n") {
			p, err := Parse(text)
			if err != nil || strings.ContainsAny(text, " \t") || len(list) == 8 {
				return
			}
			list = append(list, p)
		}
		set, err := NewSet(list)
		m := newMux(list)
		if (err == nil) != (m != nil) {
			t.Fatalf("%q: got conflict %v, want a conflict: %v", patterns, err, m == nil)
		}
		u, bad := url.ParseRequestURI(path)
		if err != nil || bad != nil || u.Host != "" || strings.ContainsAny(path, "?#") || u.EscapedPath() != path {
			return
		}
		index, ok := set.Match(path)
		if !clean(path) {
			if ok {
				t.Fatalf("%q matches %s, and it is not clean", path, list[index])
			}
			return
		}
		want, values := m.match(path, u)
		if m.redirected || strings.Contains(strings.ToUpper(path)+"/", "/%2F/") { // a ServeMux takes %2F for its own mark
			return
		}
		if !ok {
			index = -1
		}
		if index != want {
			t.Fatalf("%q among %q: got pattern %d, want %d", path, patterns, index, want)
		}
		for i, p := range list {
			got := p.Values(path)
			if i == index && !slices.Equal(got, values) {
				t.Fatalf("%q with %s: got %q, want %q", path, p, got, values)
			}
			if alone, _ := NewSet(list[i : i+1]); len(p.Names()) > 0 {
				if _, matches := alone.Match(path); matches != (got != nil) {
					t.Fatalf("%q with %s: got values %q, match %v", path, p, got, matches)
				}
			}
		}
	})
}
