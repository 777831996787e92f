package telemetry

import (
	"strings"
	"testing"
)

// TestSecretsOfClients checks that secrets are removed from what clients send.
func TestSecretsOfClients(t *testing.T) {
	const planted = "pl4nted.s3cret_value"
	s := NewSecrets("ticket_id", "", "visit")
	for _, tt := range []struct {
		name, value, want string
	}{
		{"Cookie", "sid=" + planted, redacted},
		{"cookie", "sid=" + planted, redacted},
		{"Authorization", "Basic " + planted, redacted},
		{"Proxy-Authorization", planted, redacted},
		{"X-Api-Key", planted, redacted},
		{"X-Auth-Token", planted, redacted},
		{"X-Amz-Security-Token", planted, redacted},
		{"api_key", planted, redacted},
		{"access_token", planted, redacted},
		{"ticket", planted, redacted},
		{"password", planted, redacted},
		{"session", planted, redacted},
		{"sessionId", planted, redacted},
		{"X-Signature", planted, redacted},
		{"jwt", planted, redacted},
		{"visit", planted, redacted},
		{"Sec-WebSocket-Protocol", "chat, bearer." + planted, "chat, bearer." + redacted},
		{"X-Original-Url", "/a?b=1&access_token=" + planted, "/a?b=1&access_token=" + redacted},
		{"Referer", "https://user:" + planted + "@example.com/", "https://user:" + redacted + "@example.com/"},
		{"device", "eyJhbGciOiJIUzI1NiJ9.e30." + planted, redacted},
		{"device", "phone", "phone"},
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)"},
		{"sessions", "3", "3"},
		{"monkey", "business", "business"},
		{"Cookie", "", ""},
	} {
		got := s.Value(tt.name, tt.value)
		if got != tt.want || strings.Contains(got, planted) {
			t.Errorf("%s: %s: got %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}
