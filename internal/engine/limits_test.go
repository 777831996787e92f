package engine

import (
	"os"
	"strings"
	"testing"
)

// TestEveryLimitIsDocumented checks that docs/limits.md names the counter of each limit.
func TestEveryLimitIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	for l := range numLimits {
		if name := l.String(); !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/limits.md lacks %s", name)
		}
	}
}
