package auth_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/auth"
)

var update = flag.Bool("update", false, "write the golden files anew")

// full is an Identity with everything in it.
func full() auth.Identity {
	return auth.Identity{
		User: "alice", Scopes: []string{"chat:read", "chat:write"},
		Claims: map[string]any{"name": "Alice <a&b>", "level": 7.5, "rooms": []any{"lobby", nil, true, map[string]any{"x": 1.0}}},
		Issuer: "https://issuer.test", Expiry: time.Date(2026, 6, 1, 12, 1, 0, 500, time.UTC),
		TokenID: "token-1", Source: auth.SourceSubprotocol,
	}
}

// TestIdentityGolden: what one version has written stays readable.
func TestIdentityGolden(t *testing.T) {
	path := filepath.Join("testdata", "identity.v1.hex")
	id := full()
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(id.Append(nil))+"\n"), 0o600); err != nil {
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
	got, err := auth.ParseIdentity(b)
	if err != nil || !reflect.DeepEqual(got, id) {
		t.Errorf("got %+v, %v, want %+v", got, err, id)
	}
	if again := got.Append(nil); !bytes.Equal(again, b) {
		t.Errorf("written again: got %x, want %x", again, b)
	}
}

// drawIdentity makes one of any shape.
func drawIdentity(t *rapid.T) auth.Identity {
	id := auth.Identity{
		User: rapid.String().Draw(t, "user"), Issuer: rapid.String().Draw(t, "issuer"),
		TokenID: rapid.String().Draw(t, "token"), Source: auth.Source(rapid.Byte().Draw(t, "source")),
		Scopes: rapid.SliceOfN(rapid.String(), 0, 20).Draw(t, "scopes"), Partial: rapid.Bool().Draw(t, "partial"),
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

// TestIdentityRoundTrip: what Append writes, ParseIdentity reads, wherever it stands.
func TestIdentityRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawIdentity(t)
		prefix := rapid.SliceOf(rapid.Byte()).Draw(t, "prefix")
		b := id.Append(bytes.Clone(prefix))
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("Append changed what was there")
		}
		b = b[len(prefix):]
		got, err := auth.ParseIdentity(b)
		if err != nil || !reflect.DeepEqual(got, id) {
			t.Fatalf("got %#v, %v, want %#v", got, err, id)
		}
		if u := auth.UserOf(string(b)); u != id.User {
			t.Fatalf("UserOf: got %q, want %q", u, id.User)
		}
		if u := auth.TokenIDOf(string(b)); u != id.TokenID {
			t.Fatalf("TokenIDOf: got %q, want %q", u, id.TokenID)
		}
		for n := range b { // a part is either refused or still the same user
			if part, err := auth.ParseIdentity(b[:n]); err == nil && part.User != id.User {
				t.Fatalf("cut off at %d: got user %q, want %q", n, part.User, id.User)
			}
		}
	})
}

// TestParseIdentityRefuses: what is no identity is refused, and what a later version may leave out is skipped.
func TestParseIdentityRefuses(t *testing.T) {
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
		id, err := auth.ParseIdentity([]byte(tt.in))
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, auth.ErrIdentity)) {
			t.Errorf("%s: got %+v, %v, want ok %v", tt.name, id, err, tt.ok)
		}
	}
}

// TestClaimsLimit: claims beyond the limit, and such as are no JSON, do not travel, and that is remembered.
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
		got, err := auth.ParseIdentity(id.Append(nil))
		if err != nil || (got.Claims != nil) != tt.kept || got.Partial == tt.kept || got.User != "alice" {
			t.Errorf("%s: got kept %v, partial %v, %v, want kept %v", tt.name, got.Claims != nil, got.Partial, err, tt.kept)
		}
	}
}

// TestPartsDoNotAllocate: the user of an encoded identity is a part of it.
func TestPartsDoNotAllocate(t *testing.T) {
	id := full()
	s := string(id.Append(nil))
	var user, tok string
	if n := testing.AllocsPerRun(100, func() { user, tok = auth.UserOf(s), auth.TokenIDOf(s) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if user != "alice" || tok != "token-1" {
		t.Errorf("got %q, %q", user, tok)
	}
	if got := auth.UserOf("\x01\x09alice") + auth.TokenIDOf("\x01\x00\x03") + auth.TokenIDOf(""); got != "" {
		t.Errorf("of what is no identity: got %q, want nothing", got)
	}
}

// TestIdentityLog: the log gets user, token id, issuer and expiry, and no claim.
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
		auth.SourceCookie: "cookie", auth.SourceTicket: "ticket", 99: "unknown",
	} {
		if got := source.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHashToken: the signature does not count, everything else does.
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

func FuzzParseIdentity(f *testing.F) {
	id := full()
	f.Add(id.Append(nil))
	f.Add([]byte("\x01\x05alice\x80\x03abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := auth.ParseIdentity(b)
		if err != nil {
			_, _ = auth.UserOf(string(b)), auth.TokenIDOf(string(b)) // must not panic
			return
		}
		if u, tok := auth.UserOf(string(b)), auth.TokenIDOf(string(b)); u != id.User || tok != id.TokenID {
			t.Errorf("parts: got %q, %q, want %q, %q", u, tok, id.User, id.TokenID)
		}
		again, err := auth.ParseIdentity(id.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if again.Partial == id.Partial && !reflect.DeepEqual(again, id) { // JSON may grow above the limit
			t.Errorf("got %#v, want %#v", again, id)
		}
	})
}
