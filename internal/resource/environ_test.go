package resource

import "testing"

// TestParseMemory: -1 is an error.
func TestParseMemory(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1024": 1024, "10B": 10, "4KiB": 4096, "512MiB": 512 * mib, "4GiB": 4 * gib, "1TiB": 1024 * gib,
		"": -1, "GiB": -1, "4GB": -1, "4 GiB": -1, "-1MiB": -1, "4gib": -1, "off": -1, "9999999TiB": -1, "4iB": -1,
	} {
		got, err := ParseMemory(s)
		if (err == nil) != (want >= 0) || (err == nil && got != want) {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
}
