package inspect

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestText checks the format of times, and that a token cannot control the terminal.
func TestText(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	past, future := now.Add(-90*time.Second), now.Add(time.Hour)
	r := &Report{
		Header: json.RawMessage(`{"alg":"x"}`), Claims: json.RawMessage("{\"sub\":\"\u009b31m\u202e\"}"), TokenID: "t\x1b[1m",
		IssuedAt: &past, ExpiresAt: &future, Signature: SignatureGood, Valid: true, User: "al\x1bice",
	}
	got := r.Text(now)
	for _, want := range []string{
		"issued     2026-06-01 11:58:30 UTC (1m30s ago)\n", "expires    2026-06-01 13:00:00 UTC (in 1h0m0s)\n", `verdict    valid, for the user "al\x1bice"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
	if strings.ContainsAny(got, "\x1b\u009b\u202e") {
		t.Errorf("got %q", got)
	}
}
