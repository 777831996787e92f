package identity_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/identity"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full returns an Identity with every field set.
func full() auth.Identity {
	return auth.Identity{
		User: "alice", Scopes: []string{"chat:read", "chat:write"},
		Claims: map[string]any{"name": "Alice <a&b>", "level": 7.5, "rooms": []any{"lobby", nil, true, map[string]any{"x": 1.0}}},
		Issuer: "https://issuer.test", Expiry: time.Date(2026, 6, 1, 12, 1, 0, 500, time.UTC),
		TokenID: "token-1", Source: auth.SourceSubprotocol,
	}
}

// TestGolden: what a version has written stays readable.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "v1.hex")
	id := full()
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(identity.Append(nil, &id))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.Parse(b)
	if err != nil || !reflect.DeepEqual(got, id) {
		t.Errorf("got %+v, %v, want %+v", got, err, id)
	}
	if again := identity.Append(nil, &got); !bytes.Equal(again, b) {
		t.Errorf("written again: got %x, want %x", again, b)
	}
}

// drawIdentity draws an Identity of any shape.
func drawIdentity(t *rapid.T) auth.Identity {
	id := auth.Identity{
		User: rapid.String().Draw(t, "user"), Issuer: rapid.String().Draw(t, "issuer"),
		TokenID: rapid.String().Draw(t, "token"), Source: auth.Source(rapid.Byte().Draw(t, "source")),
		Certificate: rapid.String().Draw(t, "certificate"),
		Scopes:      rapid.SliceOfN(rapid.String(), 0, 20).Draw(t, "scopes"), Partial: rapid.Bool().Draw(t, "partial"),
	}
	if len(id.Scopes) == 0 {
		id.Scopes = nil
	}
	if rapid.Bool().Draw(t, "expires") {
		id.Leeway = time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "leeway"))
		id.Expiry = time.Unix(rapid.Int64Range(-1e11, 1e11).Draw(t, "expiry"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC()
	}
	names := rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "claims")
	for _, name := range names {
		if id.Claims == nil {
			id.Claims = make(map[string]any)
		}
		id.Claims[name] = rapid.OneOf(
			rapid.Float64Range(-1e30, 1e30).AsAny(), rapid.String().AsAny(), rapid.Just[any](nil), rapid.Just[any]([]any{"a", 1.0}),
			rapid.Bool().AsAny(),
		).Draw(t, "value")
	}
	return id
}

// TestRoundTrip: Parse reads what Append wrote, whatever precedes it in the buffer.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawIdentity(t)
		prefix := rapid.SliceOf(rapid.Byte()).Draw(t, "prefix")
		b := identity.Append(bytes.Clone(prefix), &id)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("Append changed what was there")
		}
		b = b[len(prefix):]
		got, err := identity.Parse(b)
		if err != nil || !reflect.DeepEqual(got, id) {
			t.Fatalf("got %#v, %v, want %#v", got, err, id)
		}
		if u := identity.UserOf(string(b)); u != id.User {
			t.Fatalf("UserOf: got %q, want %q", u, id.User)
		}
		if u := identity.TokenIDOf(string(b)); u != id.TokenID {
			t.Fatalf("TokenIDOf: got %q, want %q", u, id.TokenID)
		}
		for n := range b { // a part is either refused or has the same user
			if part, err := identity.Parse(b[:n]); err == nil && part.User != id.User {
				t.Fatalf("cut off at %d: got user %q, want %q", n, part.User, id.User)
			}
		}
	})
}

// TestParseRefuses: what is not an Identity is refused, and optional records of a later version are skipped.
func TestParseRefuses(t *testing.T) {
	alice := "\x01\x05alice"
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"nothing", "", false},
		{"user only", alice, true},
		{"empty user", "\x01\x00", true},
		{"another version", "\x02\x05alice", false},
		{"user cut off", "\x01\x06alice", false},
		{"user without a length", "\x01", false},
		{"length without an end", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false},
		{"length of 4 GiB", "\x01\xff\xff\xff\xff\x0f", false},
		{"record without a length", alice + "\x01", false},
		{"record cut off", alice + "\x01\x05tok", false},
		{"unknown record", alice + "\x7f\x00", false},
		{"unknown record that may be skipped", alice + "\xff\x03abc", true},
		{"the same twice", alice + "\xff\x03abc\xff\x00", true},
		{"token id twice", alice + "\x01\x01a\x01\x01b", false},
		{"scopes", alice + "\x04\x01a\x04\x01b", true},
		{"expiry of a wrong length", alice + "\x02\x01a", false},
		{"expiry with too many nanoseconds", alice + "\x02\x0c\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff", false},
		{"claims that are no JSON", alice + "\x05\x01{", false},
		{"claims that are a list", alice + "\x05\x02[]", false},
		{"partial with a value", alice + "\x06\x01a", false},
		{"leeway of a wrong length", alice + "\x80\x01a", false},
		{"leeway below zero", alice + "\x80\x08\x00\x00\x00\x00\x00\x00\x00\xff", false},
		{"source without a value", alice + "\x07\x00", false},
	} {
		id, err := identity.Parse([]byte(tt.in))
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, identity.ErrEncoding)) {
			t.Errorf("%s: got %+v, %v, want ok %v", tt.name, id, err, tt.ok)
		}
	}
}

// TestClaimsLimit: claims beyond the limit, and those that are not JSON, are left out, which Partial records.
func TestClaimsLimit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims map[string]any
		kept   bool
	}{
		{"at the limit", map[string]any{"x": strings.Repeat("a", auth.MaxClaims-8)}, true},
		{"above the limit", map[string]any{"x": strings.Repeat("a", auth.MaxClaims-7)}, false},
		{"no JSON", map[string]any{"x": func() {}}, false},
	} {
		id := auth.Identity{User: "alice", Claims: tt.claims}
		got, err := identity.Parse(identity.Append(nil, &id))
		if err != nil || (got.Claims != nil) != tt.kept || got.Partial == tt.kept || got.User != "alice" {
			t.Errorf("%s: got kept %v, partial %v, %v, want kept %v", tt.name, got.Claims != nil, got.Partial, err, tt.kept)
		}
	}
}

// TestPartsDoNotAllocate: UserOf and TokenIDOf return parts of their argument.
func TestPartsDoNotAllocate(t *testing.T) {
	id := full()
	s := string(identity.Append(nil, &id))
	var user, tok string
	if n := testing.AllocsPerRun(100, func() { user, tok = identity.UserOf(s), identity.TokenIDOf(s) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if user != "alice" || tok != "token-1" {
		t.Errorf("got %q, %q", user, tok)
	}
	if got := identity.UserOf("\x01\x09alice") + identity.TokenIDOf("\x01\x00\x03") + identity.TokenIDOf(""); got != "" {
		t.Errorf("of what is no identity: got %q, want nothing", got)
	}
}

func FuzzParse(f *testing.F) {
	id := full()
	f.Add(identity.Append(nil, &id))
	f.Add([]byte("\x01\x05alice\x80\x03abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := identity.Parse(b)
		if err != nil {
			_, _ = identity.UserOf(string(b)), identity.TokenIDOf(string(b)) // must not panic
			return
		}
		if u, tok := identity.UserOf(string(b)), identity.TokenIDOf(string(b)); u != id.User || tok != id.TokenID {
			t.Errorf("parts: got %q, %q, want %q, %q", u, tok, id.User, id.TokenID)
		}
		again, err := identity.Parse(identity.Append(nil, &id))
		if err != nil {
			t.Fatal(err)
		}
		if again.Partial == id.Partial && !reflect.DeepEqual(again, id) { // JSON may grow beyond the limit
			t.Errorf("got %#v, want %#v", again, id)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	id := full()
	claims := id.Claims
	for _, bb := range []struct {
		name   string
		claims map[string]any
	}{{"with claims", claims}, {"without claims", nil}} {
		id.Claims = bb.claims
		buf := make([]byte, 0, 1024)
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = identity.Append(buf[:0], &id)
			}
		})
	}
}
