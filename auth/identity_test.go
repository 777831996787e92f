package auth_test

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// full returns an Identity with every field set.
func full() auth.Identity {
	return auth.Identity{
		User: "alice", Scopes: []string{"chat:read", "chat:write"},
		Claims: map[string]any{"name": "Alice <a&b>", "level": 7.5, "rooms": []any{"lobby", nil, true, map[string]any{"x": 1.0}}},
		Issuer: "https://issuer.test", Expiry: time.Date(2026, 6, 1, 12, 1, 0, 500, time.UTC),
		TokenID: "token-1", Source: auth.SourceSubprotocol,
	}
}

// TestIdentityLog: the log shows user, token id, issuer and expiry, but no claims.
func TestIdentityLog(t *testing.T) {
	for _, attr := range []any{full(), func() *auth.Identity { id := full(); return &id }()} {
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("hello", "id", attr)
		got := out.String()
		for _, want := range []string{"id.user=alice", "id.token=token-1", "id.issuer=https://issuer.test", "id.expiry=2026-06-01"} {
			if !strings.Contains(got, want) {
				t.Errorf("got %q, want it to say %q", got, want)
			}
		}
		for _, not := range []string{"Alice", "lobby", "chat:read"} {
			if strings.Contains(got, not) {
				t.Errorf("got %q, which says %q", got, not)
			}
		}
	}
}

// TestEnd: a token ends Leeway after its Expiry, and a time beyond the year 9999 does not overflow.
func TestEnd(t *testing.T) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, tt := range []struct{ expiry, want time.Time }{
		{time.Time{}, time.Time{}},
		{testNow, testNow.Add(time.Minute)},
		{last.Add(time.Second / 2), last.Add(time.Second/2 + time.Minute)},
		{last.Add(time.Second), last.Add(time.Minute)},
		{time.Unix(1<<62, 0), last.Add(time.Minute)},
	} {
		id := auth.Identity{Expiry: tt.expiry, Leeway: time.Minute}
		if got := id.End(); !got.Equal(tt.want) {
			t.Errorf("%v: got %v, want %v", tt.expiry, got, tt.want)
		}
		if tt.want.IsZero() {
			continue
		}
		if id.Ended(tt.want.Add(-1)) || !id.Ended(tt.want) {
			t.Errorf("%v: it does not end at %v", tt.expiry, tt.want)
		}
	}
}

func TestScopesAndClone(t *testing.T) {
	id := full()
	if !id.HasScope("chat:read") || id.HasScope("chat") || (*auth.Identity)(nil).HasScope("chat:read") {
		t.Error("HasScope is wrong")
	}
	c := id.Clone()
	c.Scopes[0], c.Claims["name"] = "x", "y"
	if !reflect.DeepEqual(id, full()) {
		t.Errorf("changing a clone changed the identity: %+v", id)
	}
	if (*auth.Identity)(nil).Clone() != nil {
		t.Error("the clone of nil is not nil")
	}
}

func TestSourceNames(t *testing.T) {
	for source, want := range map[auth.Source]string{
		auth.SourceNone: "none", auth.SourceHeader: "header", auth.SourceSubprotocol: "subprotocol", auth.SourceQuery: "query",
		auth.SourceCookie: "cookie", auth.SourceTicket: "ticket", auth.SourceTicket + 1: "unknown",
	} {
		if got := source.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHashToken: the signature does not count; everything else does.
func TestHashToken(t *testing.T) {
	same := auth.HashToken("a.b.c")
	for tok, want := range map[string]bool{"a.b.d": true, "a.b.": true, "a.c.c": false, "b.b.c": false, "a.b": true, "a.b.c.d": false, "a": false} {
		if got := auth.HashToken(tok) == same; got != want {
			t.Errorf("%s: got the same hash %v, want %v", tok, got, want)
		}
	}
	if len(same) != 32 {
		t.Errorf("got %d digits, want 32", len(same))
	}
}
