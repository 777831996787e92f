package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// planted is a secret that must not appear in any output.
const planted = "s3cr3tS3cr3t"

// jwt is a compact JWT that contains the planted secret.
const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0." + planted

// TestCleanText checks what is a secret in a text, and what is not.
func TestCleanText(t *testing.T) {
	n := newSecretNames([]string{"pin"})
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "worker ready", "worker ready"},
		{"empty", "", ""},
		{"query", "GET /ws?access_token=abc&x=1", "GET /ws?access_token=[redacted]&x=1"},
		{"query, first of several", "/?a=1&ticket=abc&token=d;key=e", "/?a=1&ticket=[redacted]&token=[redacted];key=[redacted]"},
		{"query, any case", "/?Access-Token=abc&APIKEY=d", "/?Access-Token=[redacted]&APIKEY=[redacted]"},
		{"query, escaped", "/login?next=%2Fws%3Fkey%3Dabc", "/login?next=%2Fws%3Fkey%3D[redacted]"},
		{"query in JSON", `{"url":"/ws?x=1\u0026key=abc"}`, `{"url":"/ws?x=1\u0026key=[redacted]"}`},
		{"query in an error of net/url", `Get "http://h/?access_token=abc": EOF`, `Get "http://h/?access_token=[redacted]": EOF`},
		{"other names that end so", "csrftoken=a auth_signature=b user-password=c", "csrftoken=[redacted] auth_signature=[redacted] user-password=[redacted]"},
		{"words that end so", "monkey=3 hotkey=F1 spin=2 x=y", "monkey=3 hotkey=F1 spin=2 x=y"},
		{"a name of one's own", "pin=1234", "pin=[redacted]"},
		{"empty value", "/?token=&x=1", "/?token=&x=1"},
		{"redacted before", "token=[redacted] key=[redacted]", "token=[redacted] key=[redacted]"},
		{"what begins as if it were redacted before", "token=[redacted]abc", "token=[redacted]"},
		{"quoted value", `password="a b" user=c`, `password="[redacted]" user=c`},
		{"quotes that do not close", `password="a b user=c`, `password="[redacted]`},
		{"spaces around =", "password = abc", "password = [redacted]"},
		{"scheme and token", "token=Bearer abc, and more", "token=[redacted] and more"},
		{"bearer", "got Bearer abc and more", "got Bearer [redacted] and more"},
		{"bearer, any case", "bearer: abc", "bearer: [redacted]"},
		{"bearer of nothing", "no bearer token, no Bearer", "no bearer token, no Bearer"},
		{"subprotocol", "chat, bearer.abc.def", "chat, bearer.[redacted]"},
		{"subprotocol of Kubernetes", "base64url.bearer.authorization.k8s.io.abc", "base64url.bearer.[redacted]"},
		{"end of a sentence", "the bearer. Next", "the bearer. Next"},
		{"JWT", "got " + jwt + ", expired", "got [redacted], expired"},
		{"no JWT", "eyJabc", "eyJabc"},
		{"head", "Authorization: Basic abc\r\nHost: x", "Authorization: [redacted]\r\nHost: x"},
		{"cookie", "Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"},
		{"set-cookie", "set-cookie: sid=abc; Path=/", "set-cookie: [redacted]"},
		{"head of a key", "X-Api-Key: abc", "X-Api-Key: [redacted]"},
		{"YAML", "password: abc\nuser: d", "password: [redacted]\nuser: d"},
		{"prose", "bad token: expired; unknown key: foo", "bad token: expired; unknown key: foo"},
		{"JSON", `{"token":"abc","user":"d"}`, `{"token":"[redacted]","user":"d"}`},
		{"JSON with spaces", `{"token" : 1, "apiKey": "a\"b", "x": 2}`, `{"token" : 1, "apiKey": "[redacted]", "x": 2}`},
		{"JSON in JSON", `{"body":"{\"token\":\"abc\",\"x\":1}"}`, `{"body":"{\"token\":\"[redacted]\",\"x\":1}"}`},
		{"JSON, lists and objects", `{"cookie":["a]","b"],"secret":{"x":"}"},"y":1}`, `{"cookie":[redacted],"secret":[redacted],"y":1}`},
		{"JSON, numbers", `{"password":1234,"x":1}`, `{"password":[redacted],"x":1}`},
		{"JSON, nothing", `{"token":null,"key":"","secret":false,"cookie":[]}`, `{"token":null,"key":"","secret":false,"cookie":[]}`},
		{"JSON that ends too soon", `{"cookie":["abc`, `{"cookie":[redacted]`},
		{"URL", "dial redis://user:abc@host:6379/0: refused", "dial redis://user:[redacted]@host:6379/0: refused"},
		{"URL without a user", "redis://:abc@host", "redis://:[redacted]@host"},
		{"URL with a token only", "https://abc@host/x", "https://[redacted]@host/x"},
		{"URL with a slash in its password", "redis://u:a/b@host/0", "redis://u:[redacted]@host/0"},
		{"URL with an @ in its path", "http://host:80/@x http://host/a:b@c", "http://host:80/@x http://host/a:b@c"},
		{"a name within quotes of another", `password="token":"abc"`, `password="[redacted]":"[redacted]"`},
	} {
		if tt.name == "JSON with spaces" { // a name must directly precede its colon
			tt.text, tt.want = strings.ReplaceAll(tt.text, " : ", ": "), strings.ReplaceAll(tt.want, `" : 1`, `": [redacted]`)
		}
		t.Run(tt.name, func(t *testing.T) {
			got, changed := n.clean(tt.text)
			if got != tt.want || changed != (tt.want != tt.text) {
				t.Errorf("got %q, %t\nwant %q", got, changed, tt.want)
			}
			if again, changed := n.clean(got); changed {
				t.Errorf("a second time: got %q, want %q", again, got)
			}
		})
	}
}

// TestSecretsWithoutEnd checks that a text full of secrets takes little time and keeps none of them.
func TestSecretsWithoutEnd(t *testing.T) {
	n := newSecretNames(nil)
	for _, part := range []string{
		`token="`, `"token":[`, "token=" + planted + "&", "Bearer " + planted + " ", "://", "eyJ", jwt + " ", "redis://a:" + planted + "@h ",
		`\`, "token=token=", "Cookie: ",
	} {
		text, _ := n.clean(strings.Repeat(part, 1<<20/len(part)))
		if strings.Contains(text, planted) {
			t.Errorf("%q: a secret is left", part)
		}
	}
}

func TestSecretName(t *testing.T) {
	n := newSecretNames([]string{"PIN", "", "-", "sessionId"})
	for _, name := range []string{
		"access_token", "token", "ticket", "authorization", "proxy-authorization", "cookie", "set-cookie", "password", "secret",
		"key", "client_secret", "auth_signature", "api_key", "Proxy_Authorization", "ACCESS-TOKEN", "accessToken", "http.cookie",
		"pin", "user_pin", "session_id", "userTicket", "X-Api-Key", strings.Repeat("x", 100) + "_token",
	} {
		if !n.match(name) {
			t.Errorf("%q: got no secret, want one", name)
		}
	}
	for _, name := range []string{"", "_", "user", "session", "conn", "monkey", "tokens", "spin", "keys", "é", "close", "token_id"} {
		if n.match(name) {
			t.Errorf("%q: got a secret, want none", name)
		}
	}
}

// outputs logs through each kind of handler, and returns the output.
func outputs(t *testing.T, write func(*slog.Logger)) string {
	t.Helper()
	var b bytes.Buffer
	for _, format := range []string{"json", "text"} {
		base, err := NewLogger(&b, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		write(slog.New(NewRedactor(base.Handler())))
	}
	write(slog.New(NewRedactor(slog.NewTextHandler(&b, nil))))
	return b.String()
}

type (
	stringer  struct{ text string }
	valuer    struct{ v slog.Value }
	marshaler struct{ json, text string }
	formatter struct{ text string }
	angry     struct{}
)

func (s stringer) String() string                { return s.text }
func (v valuer) LogValue() slog.Value            { return v.v }
func (m marshaler) MarshalJSON() ([]byte, error) { return json.Marshal(m.json) }
func (m marshaler) MarshalText() ([]byte, error) { return []byte(m.text), nil }
func (f formatter) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, f.text) }
func (angry) Error() string                      { panic("token=" + planted) }
func (angry) MarshalJSON() ([]byte, error)       { panic("token=" + planted) }
func (angry) LogValue() slog.Value               { panic("token=" + planted) }

// TestRedactsValues checks that a secret is removed from every kind of value, and that other values stay.
func TestRedactsValues(t *testing.T) {
	const query = "/ws?access_token=" + planted
	type inner struct {
		AccessToken string `json:"t"`
		User        string
	}
	u := &url.URL{Scheme: "redis", User: url.UserPassword("u", planted), Host: "beside"}
	for _, tt := range []struct {
		name string
		args []any
	}{
		{"secret key", []any{"token", planted, "user", "beside"}},
		{"secret key, a number", []any{"password", 471147114711, "user", "beside"}},
		{"string", []any{"url", query, "user", "beside"}},
		{"error", []any{"error", fmt.Errorf("beside: %w", errors.New(query))}},
		{"wrapped error of a library", []any{"error", &url.Error{Op: "beside", URL: query, Err: io.EOF}}},
		{"stringer", []any{"v", stringer{"beside " + query}}},
		{"pointer to a stringer", []any{"v", &stringer{"beside " + query}}},
		{"JSON of its own", []any{"v", marshaler{"beside " + query, "beside"}}},
		{"text of its own", []any{"v", marshaler{"beside", "beside " + query}}},
		{"format of its own", []any{"v", formatter{"beside " + query}}},
		{"bytes", []any{"v", []byte("beside " + query)}},
		{"strings", []any{"v", []string{"beside", query}}},
		{"head", []any{"v", http.Header{"Authorization": {"Basic " + planted}, "X": {"beside"}}}},
		{"map", []any{"v", map[string]any{"client_secret": planted, "user": "beside"}}},
		{"struct", []any{"v", inner{planted, "x"}, "user", "beside"}},
		{"pointer to a struct", []any{"v", &inner{planted, "x"}, "user", "beside"}},
		{"URL", []any{"v", u}},
		{"request", []any{"v", &http.Request{Header: http.Header{"Cookie": {planted}}}, "user", "beside"}},
		{"group", []any{slog.Group("g", "a", "beside", slog.Group("h", "token", planted, "url", query))}},
		{"secret group", []any{slog.Group("cookie", "a", planted), "user", "beside"}},
		{"valuer", []any{"v", valuer{slog.GroupValue(slog.String("token", planted), slog.String("user", "beside"))}}},
		{"valuer of a secret", []any{"token", valuer{slog.StringValue(planted)}, "user", "beside"}},
		{"valuer of a valuer", []any{"v", valuer{slog.AnyValue(valuer{slog.StringValue("beside " + query)})}}},
		{"key", []any{query, 1, "user", "beside"}},
		{"key without a value", []any{"user", "beside", query}},
		{"pointer to a string", []any{"token", new(planted), "user", "beside"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for way, write := range map[string]func(*slog.Logger){
				"record":            func(l *slog.Logger) { l.Info("m", tt.args...) },
				"logger":            func(l *slog.Logger) { l.With(tt.args...).Info("m") },
				"logger in a group": func(l *slog.Logger) { l.WithGroup("g").With("a", 1).With(tt.args...).Warn("m", "b", 2) },
				"in a group":        func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Error("m", tt.args...) },
			} {
				got := outputs(t, write)
				if strings.Contains(got, planted) || strings.Contains(got, "471147114711") {
					t.Errorf("%s: the secret is in\n%s", way, got)
				}
				if strings.Count(got, "beside") < 3 || !strings.Contains(got, redacted) {
					t.Errorf("%s: got\n%s\nwant what stands beside the secret, and a mark", way, got)
				}
			}
		})
	}
	got := outputs(t, func(l *slog.Logger) {
		l.Info("beside " + query)
		l.WithGroup("cookie").With("a", planted, slog.Group("b", "c", planted)).Info("m", "d", planted)
		l.WithGroup(query).Info("m", "a", 1)
	})
	if strings.Contains(got, planted) || !strings.Contains(got, "beside") {
		t.Errorf("message and groups: got\n%s", got)
	}
}

// TestRedactorLeavesTheRest checks that the redactor does not change records without secrets.
func TestRedactorLeavesTheRest(t *testing.T) {
	write := func(l *slog.Logger) {
		l = l.With("worker", 1, "conn", "00ab", "addr", netip.MustParseAddrPort("127.0.0.1:80")).WithGroup("g")
		l.Info("m", "a", 1, "b", true, "c", 1.5, "d", time.Second, "e", time.Unix(1, 0).UTC(), "f", []int{1}, "g", nil,
			"h", errors.New("bad token: expired"), "has_token", true, "token", "", "cookie", nil, "i", slog.LevelWarn, "j", uint8(3),
			slog.Group("k", "l", "m"), slog.Group("", "n", 1), slog.Attr{}, "o", struct{ A, Token string }{"x", ""})
		l.Debug("m")
	}
	plain := func(h func(io.Writer) slog.Handler, wrap func(slog.Handler) slog.Handler) string {
		var b bytes.Buffer
		write(slog.New(wrap(h(&b))))
		return b.String()
	}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}
	for name, h := range map[string]func(io.Writer) slog.Handler{
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: drop}) },
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: drop}) },
	} {
		want := plain(h, func(h slog.Handler) slog.Handler { return h })
		got := plain(h, func(h slog.Handler) slog.Handler { return NewRedactor(h) })
		if got != want || strings.Contains(got, redacted) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// laden is an error whose fields have a secret, and its text has none.
type laden struct{ Header map[string]string }

func (*laden) Error() string { return "no such room" }

// TestRedactsErrorsAsTheirText checks that a line has the text of an error, not its fields.
func TestRedactsErrorsAsTheirText(t *testing.T) {
	var b bytes.Buffer
	l := slog.New(NewRedactor(slog.NewJSONHandler(&b, nil)))
	l.Info("m", "error", &laden{map[string]string{"Authorization": planted}})
	if got := b.String(); !strings.Contains(got, `"error":"no such room"`) || strings.Contains(got, planted) {
		t.Errorf("got %s", got)
	}
}

// TestOddValues checks that misbehaving values end neither the process nor the line.
func TestOddValues(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	list := []any{nil}
	list[0] = list
	deep := slog.StringValue("token=" + planted)
	for range 10 * maxGroups {
		deep = slog.GroupValue(slog.Attr{Key: "g", Value: deep})
	}
	for name, v := range map[string]any{
		"nil pointer that has methods": (*url.URL)(nil), "nil error": error(nil), "typed nil": (*angryPointer)(nil), "panics": angry{},
		"map that contains itself": cycle, "list that contains itself": list, "function": func() {}, "channel": make(chan int),
		"deep": deep, "not UTF-8": "\xff token=\xff" + planted, "complex": 1i, "endless": endless{}, "no number": []float64{0, nan()},
	} {
		got := outputs(t, func(l *slog.Logger) { l.With("a", v).Info("m", "v", v, "after", "here") })
		if strings.Contains(got, planted) || strings.Count(got, "here") != 3 {
			t.Errorf("%s: got\n%s", name, got)
		}
		if n := strings.Count(got, `"g":`); n > 2*(maxGroups+1) {
			t.Errorf("%s: got %d groups in groups, want them cut off", name, n)
		}
	}
}

type (
	angryPointer struct{ text string }
	endless      struct{}
)

func (a *angryPointer) Error() string { return a.text }

func (endless) LogValue() slog.Value { return slog.AnyValue(endless{}) }

func nan() float64 { var zero float64; return zero / zero }

// handled is a handler that does nothing.
type handled struct{}

func (handled) Enabled(context.Context, slog.Level) bool  { return true }
func (handled) Handle(context.Context, slog.Record) error { return nil }
func (h handled) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h handled) WithGroup(string) slog.Handler           { return h }

func usualRecord() slog.Record {
	r := slog.NewRecord(time.Unix(1, 0), slog.LevelInfo, "connection opened", 0)
	r.AddAttrs(slog.String("remote", "192.0.2.1:4711"), slog.String("path", "/chat"), slog.Int("connections", 12), slog.Duration("took", 1))
	return r
}

// TestCleanRecordsAllocateNothing checks a budget: every log line passes the redactor.
func TestCleanRecordsAllocateNothing(t *testing.T) {
	h, r := NewRedactor(handled{}), usualRecord()
	if got := testing.AllocsPerRun(100, func() { _ = h.Handle(t.Context(), r) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func BenchmarkRedactor(b *testing.B) {
	dirty := usualRecord()
	dirty.AddAttrs(slog.String("url", "/chat?room=1&access_token="+planted))
	for name, r := range map[string]slog.Record{"clean": usualRecord(), "dirty": dirty} {
		b.Run(name, func(b *testing.B) {
			h := NewRedactor(handled{})
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(b.Context(), r)
			}
		})
	}
}

// FuzzRedactor plants a secret between any two texts, in each form and place.
func FuzzRedactor(f *testing.F) {
	for _, s := range []string{"", "a", `"`, `\"`, "token=", `password="`, "://", "@", "%3D", "[redacted]", "eyJ.", "Bearer ", "cookie:", "{[", "'", "\\"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, behind string) {
		if strings.Contains(before+behind, planted) {
			return // the text contains it on its own
		}
		for _, form := range []string{
			"?access_token=" + planted, "&ticket=" + planted, " token=" + planted, "?key=" + planted, " Bearer " + planted,
			" bearer." + planted, jwt, " redis://user:" + planted + "@host", `{"token":"` + planted + `"}`, "\nCookie: a=" + planted,
			`{\"secret\":\"` + planted + `\"}`,
		} {
			text := before + form + behind
			got := outputs(t, func(l *slog.Logger) {
				l.With("a", text).WithGroup("g").Info(text, "b", text, "c", errors.New(text), "d", []string{text}, "e", stringer{text},
					slog.Group("h", "i", valuer{slog.StringValue(text)}), text, 1)
			})
			if strings.Contains(got, planted) {
				t.Errorf("the secret of %q is in\n%s", text, got)
			}
		}
	})
}
