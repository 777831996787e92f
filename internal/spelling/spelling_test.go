package spelling

import (
	"strings"
	"testing"
)

func TestSuggest(t *testing.T) {
	known := []string{"log-level", "addr", "addr", "GOGC"}
	all := ": known are GOGC, addr, log-level"
	for word, want := range map[string]string{
		"log_levle": `: did you mean "log-level"?`, "ADR": `: did you mean "addr"?`, "gogc": `: did you mean "GOGC"?`,
		"": all, "workers": all, strings.Repeat("a", 100): all,
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := Suggest("a", nil); got != "" {
		t.Errorf("without known words: got %q, want none", got)
	}
}
