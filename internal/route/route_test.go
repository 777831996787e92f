package route

import (
	"slices"
	"strings"
	"testing"
)

func parseAll(t testing.TB, texts ...string) []*Pattern {
	t.Helper()
	var list []*Pattern
	for _, text := range texts {
		p, err := Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		list = append(list, p)
	}
	return list
}

// TestParse checks which patterns are refused, and that the error says where and why.
func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, pattern, want string }{
		{"root", "/", ""},
		{"literal", "/chat/v1", ""},
		{"slash at the end", "/chat/", ""},
		{"wildcard", "/room/{id}/events", ""},
		{"rest", "/files/{rest...}", ""},
		{"rest alone", "/{rest...}", ""},
		{"dollar", "/chat/{$}", ""},
		{"encoded brace", "/%7Bid%7D", ""},
		{"closing brace", "/a}", ""},
		{"literal like the name of a wildcard", "/{id}/id", ""},
		{"letters beyond ASCII", "/{ä}", ""},
		{"as long as allowed", "/" + strings.Repeat("a", maxPattern-1), ""},
		{"empty", "", "begins with /"},
		{"method", "GET /chat", "no method"},
		{"host", "example.com/chat", "no host"},
		{"wildcard with a prefix", "/room/a{id}", "at offset 6: a wildcard is a whole segment"},
		{"wildcard with a suffix", "/{id}a", "at offset 1: a wildcard is a whole segment"},
		{"wildcard that is open", "/{id", "want } at its end"},
		{"brace alone", "/{", "want } at its end"},
		{"wildcard over a slash", "/{a/b}", "want } at its end"},
		{"no name", "/{}", `"" is not a name`},
		{"rest without a name", "/{...}", `"" is not a name`},
		{"digit first", "/{1a}", `"1a" is not a name`},
		{"sign in a name", "/{a-b}", `"a-b" is not a name`},
		{"same name twice", "/{a}/x/{a}", `at offset 7: the wildcard "a" appears twice`},
		{"same name as the rest", "/{a}/{a...}", "appears twice"},
		{"rest in the middle", "/{a...}/b", "only allowed at the end"},
		{"rest before a slash", "/{a...}/", "only allowed at the end"},
		{"dollar in the middle", "/{$}/b", "{$} is only allowed at the end"},
		{"empty segment", "/a//b", "never matches"},
		{"two slashes at the end", "/a//", "never matches"},
		{"dot", "/a/./b", "never matches"},
		{"dots at the end", "/a/..", "never matches"},
		{"encoded dots", "/%2e%2E/a", "never matches"},
		{"bad encoding", "/100%", "at offset 1: bad percent-encoding"},
		{"too long", "/" + strings.Repeat("a", maxPattern), "want at most 1024"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse(tt.pattern)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want == "" && p.String() != tt.pattern:
				t.Errorf("got %q, want %q", p, tt.pattern)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestMatch checks which pattern of a set matches a path, and the values of its wildcards.
func TestMatch(t *testing.T) {
	list := parseAll(t, "/", "/chat", "/chat/", "/room/{id}", "/room/lobby", "/room/{id}/events", "/files/{rest...}",
		"/files/list", "/files/{name}/info", "/a%2Fb", "/100%2525", "/y/{x}/{y}/{z}", "/y/{a}/b/{c}", "/sp ace", "/deep/{rest...}", "/deep/a/b/c/d")
	set, err := NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, pattern string
		values        []string
	}{
		{"/", "/", nil},
		{"/chat", "/chat", nil},
		{"/%63hat", "/chat", nil},
		{"/chat/", "/chat/", nil},
		{"/chat/a", "", nil},
		{"/Chat", "", nil},
		{"/room", "", nil},
		{"/room/", "", nil},
		{"/room/7", "/room/{id}", []string{"7"}},
		{"/room/7/", "", nil},
		{"/room/lobby", "/room/lobby", nil},
		{"/room/lobby/events", "/room/{id}/events", []string{"lobby"}},
		{"/room/a%2Fb", "/room/{id}", []string{"a/b"}},
		{"/room/a+b", "/room/{id}", []string{"a+b"}},
		{"/room/%C3%A4", "/room/{id}", []string{"ä"}},
		{"/room/%2e", "", nil},
		{"/room/..", "", nil},
		{"/room/...", "/room/{id}", []string{"..."}},
		{"/room/%2e%2e%2f", "/room/{id}", []string{"../"}},
		{"//room/7", "", nil},
		{"/room//7", "", nil},
		{"/files", "", nil},
		{"/files/", "/files/{rest...}", []string{""}},
		{"/files/a", "/files/{rest...}", []string{"a"}},
		{"/files/a/b", "/files/{rest...}", []string{"a/b"}},
		{"/files/a/b/", "/files/{rest...}", []string{"a/b/"}},
		{"/files/a//b", "", nil},
		{"/files/a/../b", "", nil},
		{"/files/a/%2E%2E/b", "", nil},
		{"/files/list", "/files/list", nil},
		{"/files/l/info", "/files/{name}/info", []string{"l"}},
		{"/files/l/info/x", "/files/{rest...}", []string{"l/info/x"}},
		{"/a/b", "", nil},
		{"/a%2Fb", "/a%2Fb", nil},
		{"/a%2fb", "/a%2Fb", nil},
		{"/y/1/2/3", "/y/{x}/{y}/{z}", []string{"1", "2", "3"}},
		{"/y/1/b/3", "/y/{a}/b/{c}", []string{"1", "3"}},
		{"/y/1/2/", "", nil},
		{"/y/1/b/", "", nil},
		{"/100%25", "", nil},
		{"/100%2525", "/100%2525", nil},
		{"/sp%20ace", "/sp ace", nil},
		{"/deep/a/b/c/e", "/deep/{rest...}", []string{"a/b/c/e"}},
		{"/deep/a/b/c/d", "/deep/a/b/c/d", nil},
		{"", "", nil},
		{"chat", "", nil},
		{"*", "", nil},
	} {
		t.Run(tt.path, func(t *testing.T) {
			i, ok := set.Match(tt.path)
			if !ok {
				if tt.pattern != "" {
					t.Errorf("got no match, want %s", tt.pattern)
				}
				return
			}
			if got := list[i].String(); got != tt.pattern {
				t.Fatalf("got %s, want %q", got, tt.pattern)
			}
			if got := list[i].Values(tt.path); !slices.Equal(got, tt.values) {
				t.Errorf("got %q, want %q", got, tt.values)
			}
		})
	}
}

// TestMatchNameOfWildcard checks that the name of a wildcard is not taken for a literal.
func TestMatchNameOfWildcard(t *testing.T) {
	set, err := NewSet(parseAll(t, "/id", "/{id}"))
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := set.Match("/id"); i != 0 || !ok {
		t.Errorf("got pattern %d, %v, want the literal", i, ok)
	}
}

// TestValuesOfOther checks that a pattern has no values for a path that it does not match.
func TestValuesOfOther(t *testing.T) {
	for _, tt := range []struct{ pattern, path string }{
		{"/room/{id}", "/room"},
		{"/room/{id}", "/room/"},
		{"/room/{id}", "/room/7/8"},
		{"/room/{id}", "/hall/7"},
		{"/room/{id}", "/room/.."},
		{"/files/{rest...}", "/files"},
		{"/room/{id}/", "/room/7"},
	} {
		if got := parseAll(t, tt.pattern)[0].Values(tt.path); got != nil {
			t.Errorf("%s, %s: got %q, want none", tt.pattern, tt.path, got)
		}
	}
}

// TestConflict checks which patterns cannot be in one set, and that the error names both.
func TestConflict(t *testing.T) {
	for _, tt := range []struct{ p, q, want string }{
		{"/a", "/a", "same paths"},
		{"/a", "/%61", "same paths"},
		{"/a/", "/a/{$}", "same paths"},
		{"/{a}", "/{b}", "same paths"},
		{"/x/{a...}", "/x/{b...}", "same paths"},
		{"/{a}/b", "/a/{b}", `both match "/a/b"`},
		{"/{a}/{b}/c", "/x/{rest...}", `both match "/x/b/c"`},
		{"/{a}/x", "/b/{rest...}", `both match "/b/x"`},
		{"/a", "/b", ""},
		{"/a", "/a/", ""},
		{"/a", "/{x}", ""},
		{"/{a}/", "/x/{rest...}", `both match "/x/"`},
		{"/", "/{x}", ""},
		{"/", "/{x...}", ""},
		{"/{a}/x", "/b/y", ""},
		{"/{x}", "/a/{rest...}", ""},
		{"/{x}/", "/a/{y}", ""},
		{"/a/", "/a/{x}", ""},
		{"/a/{x}", "/a/{x...}", ""},
		{"/{x}/b", "/{y...}", ""},
		{"/{x}/", "/{x}/{y}", ""},
		{"/a/{x}", "/b/{rest...}", ""},
	} {
		for _, pair := range [][2]string{{tt.p, tt.q}, {tt.q, tt.p}} {
			_, err := NewSet(parseAll(t, pair[0], pair[1]))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%q: got %v", pair, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), `"`+tt.p+`"`) || !strings.Contains(err.Error(), `"`+tt.q+`"`)):
				t.Errorf("%q: got %v, want both and %q", pair, err, tt.want)
			}
		}
	}
}

// TestShape checks that the names of wildcards do not matter for the shape.
func TestShape(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{"/room/{id}", "/room/{}"},
		{"/room/{name}", "/room/{}"},
		{"/x/{rest...}", "/x/{...}"},
		{"/x/{$}", "/x/"},
		{"/x/", "/x/"},
		{"/%7B%7D", "/%7B%7D"},
		{"/a%2Fb", "/a%2Fb"},
	} {
		if got := parseAll(t, tt.pattern)[0].Shape(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.pattern, got, tt.want)
		}
	}
}

// TestMatchDoesNotAllocate checks that finding a pattern costs no memory, with and without wildcards.
func TestMatchDoesNotAllocate(t *testing.T) {
	set, err := NewSet(parseAll(t, "/chat", "/room/{id}", "/files/{rest...}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/chat", "/room/7", "/files/a/b/c", "/none/at/all"} {
		if n := testing.AllocsPerRun(100, func() { set.Match(path) }); n != 0 {
			t.Errorf("%s: got %v allocations, want none", path, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	set, err := NewSet(parseAll(b, "/", "/chat", "/room/{id}", "/room/{id}/events", "/files/{rest...}"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{"/chat", "/room/7", "/room/7/events", "/none/at/all"} {
		b.Run(strings.ReplaceAll(path[1:], "/", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Match(path)
			}
		})
	}
	b.Run("map", func(b *testing.B) { // what literal paths cost without a set
		for b.Loop() {
			if set.exact["/chat"] != 1 {
				b.Fatal("not found")
			}
		}
	})
}
