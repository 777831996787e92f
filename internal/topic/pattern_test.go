package topic

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func pattern(t testing.TB, text string) Pattern {
	t.Helper()
	p, err := ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		name, pattern string
		yes, no       []string
	}{
		{"without a star it is a name", "lobby", []string{"lobby"}, []string{"lobby2", "lobb", "Lobby", ""}},
		{"a star is any bytes, also none", "room:*", []string{"room:", "room:1", "room:a/b:c\x00"}, []string{"room", "rooms:"}},
		{"a star at the beginning", "*:chat", []string{":chat", "a:b:chat"}, []string{"chat", ":chat2"}},
		{"prefix and suffix do not overlap", "aba*aba", []string{"abaaba", "aba-aba"}, []string{"ababa", "aba"}},
		{"several stars", "a*b*c", []string{"abc", "axxbyyc", "abbc", "abcbc"}, []string{"ac", "acb", "ab"}},
		{"two stars are one", "a**", []string{"a", "ab"}, []string{"b"}},
		{"a star alone is every topic but those of the server", "*", []string{"a", "*"}, []string{"", "\x00user:a"}},
		{"nothing else is special", "a.?[b]\\", []string{"a.?[b]\\"}, []string{"axxb"}},
	} {
		p := pattern(t, c.pattern)
		if p.String() != c.pattern {
			t.Errorf("%s: String: got %q", c.name, p.String())
		}
		for _, name := range c.yes {
			if !p.Matches(name) {
				t.Errorf("%s: %q does not match %q", c.name, c.pattern, name)
			}
		}
		for _, name := range c.no {
			if p.Matches(name) {
				t.Errorf("%s: %q matches %q", c.name, c.pattern, name)
			}
		}
	}
	if (Pattern{}).Matches("a") {
		t.Error("the zero pattern matches")
	}
}

func TestBadPatterns(t *testing.T) {
	for _, text := range []string{"", "\x00user:*", strings.Repeat("x", maxPattern+1)} {
		if _, err := ParsePattern(text); !errors.Is(err, ErrPattern) {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
	pattern(t, strings.Repeat("x", maxPattern))
}

// TestPatternModel: a pattern matches what a regular expression with .* for each star matches.
func TestPatternModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab*")), 1, 8, -1).Draw(rt, "pattern")
		name := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 10, -1).Draw(rt, "name")
		re := regexp.MustCompile("^" + strings.ReplaceAll(text, "*", ".*") + "$")
		if got, want := pattern(t, text).Matches(name), re.MatchString(name); got != want {
			rt.Fatalf("%q, %q: got %v, want %v", text, name, got, want)
		}
	})
}

func TestRules(t *testing.T) {
	var r Rules[int]
	if _, ok := r.Find("a"); ok || r.Len() != 0 {
		t.Error("no rules: got one")
	}
	r.Add(pattern(t, "a*"), 1)
	r.Add(pattern(t, "ab*"), 2)
	r.Add(pattern(t, "b"), 3)
	for name, want := range map[string]int{"abc": 1, "b": 3, "bc": 0} {
		if got, ok := r.Find(name); got != want || ok != (want > 0) {
			t.Errorf("%s: got %d, %v, want %d", name, got, ok, want)
		}
	}
}

func BenchmarkRules(b *testing.B) {
	var r Rules[int]
	r.Add(pattern(b, "room:*"), 1)
	r.Add(pattern(b, "team:*:chat"), 2)
	for b.Loop() {
		r.Find("ticker:EURUSD")
	}
}
