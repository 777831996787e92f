package connid_test

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/connid"
)

// FuzzParse: a text that is accepted is the number that it writes.
func FuzzParse(f *testing.F) {
	f.Add("00000000000000ff")
	f.Add("+0000000000000ff")
	f.Add("FFFFFFFFFFFFFFFF")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := connid.Parse(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Fatalf("Parse(%q) = %s", s, id)
		}
	})
}
