package urlquery_test

import (
	"net/url"
	"testing"

	"github.com/expedite-go/expedite/internal/urlquery"
)

// TestStrip removes parameters however their names are escaped, and nothing else.
func TestStrip(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"", ""},
		{"a=1", "a=1"},
		{"session=x", ""},
		{"a=1&session=x&b=%2f&&c", "a=1&b=%2f&&c"},
		{"session=x&a=session&session&session=y", "a=session"},
		{"%73ession=x&sess%69on=y&a=1", "a=1"},
		{"my+name=x&my%20name=y&b", "b"},
		{"Session=x", "Session=x"},
		{"session%=x", "session%=x"},
		{"a=1&sessions=x", "a=1&sessions=x"},
		{"a=1;session=x", "a=1;session=x"},
	} {
		if got := urlquery.Strip(tt.raw, "session", "my name"); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.raw, got, tt.want)
		}
	}
}

func TestStripDoesNotAllocate(t *testing.T) {
	raw := "a=1&b=2"
	if n := testing.AllocsPerRun(100, func() { raw = urlquery.Strip(raw, "session", "ticket") }); n != 0 {
		t.Errorf("got %v allocations for a query that stays as it is, want none", n)
	}
}

// FuzzStrip: what net/url reads as the parameter is gone, and everything else stays.
func FuzzStrip(f *testing.F) {
	f.Add("a=1&%73ession=x&b=+&session")
	f.Fuzz(func(t *testing.T, raw string) {
		stripped := urlquery.Strip(raw, "session")
		if again := urlquery.Strip(stripped, "session"); again != stripped {
			t.Fatalf("got %q, and %q of that", stripped, again)
		}
		want, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		got, err := url.ParseQuery(stripped)
		delete(want, "session")
		if err != nil || got.Encode() != want.Encode() {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	})
}
