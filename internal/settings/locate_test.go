package settings

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/configfile"
)

// TestLocate checks that an error of another package begins with the place of the value that it is about, and names
// settings as they were given.
func TestLocate(t *testing.T) {
	l, err := Load(Sources{
		File: file("hang-timeout: 5s", "idle-timeout: 10s", "redis-file: "+t.TempDir(), "max-message: none"),
		Environ: []string{
			"EXPEDITE_MAX_HEAD=1KiB", "EXPEDITE_AUTH_SECRET=short", "REDIS_URL_FILE=", "PORT=80", "EXPEDITE_ORIGINS=*",
		},
		Flags: map[string][]string{"ping-interval": {"50s"}, "procs": {"3"}},
	})
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Fatalf("got %v, want the errors of two values", err)
	}
	for _, tt := range []struct{ text, want string }{
		{"expedite: Config.HangTimeout is 5s: no", "e.yaml:1: hang-timeout is 5s: no"},
		{"expedite: open x: Config.HangTimeout: no", "e.yaml:1: hang-timeout: open x: hang-timeout: no"},
		{"expedite: Config.MaxHead is 10: no", "EXPEDITE_MAX_HEAD is 10: no"},
		{"expedite: Config.Addr: in use", "PORT: in use"},
		{"Verifier.Secret: too short", "EXPEDITE_AUTH_SECRET: too short"},
		{"Config.Tuning.Procs is -1", "--procs is -1"},
		{"Config.LogDir: denied", "--log-dir: denied"},
		{"Config.HangTimeout wants Config.LogDir", "e.yaml:1: hang-timeout wants log-dir"},
		{"Config.MaxHead wants Config.LogDir", "EXPEDITE_MAX_HEAD wants EXPEDITE_LOG_DIR"},
		{"Config.MaxHead wants Verifier.ClientSecret", "EXPEDITE_MAX_HEAD wants EXPEDITE_AUTH_INTROSPECT_SECRET"},
		{"Config.LogDir wants Config.HangTimeout", "e.yaml:1: hang-timeout: log-dir wants hang-timeout"},
		{
			"expedite: Config.PingInterval is 50s and Config.IdleTimeout 10s: no",
			"--ping-interval is 50s and idle-timeout (e.yaml:2) 10s: no",
		},
		{"Config.Auth.Origins without Config.Auth.Verifier", "EXPEDITE_ORIGINS without --auth-introspect, EXPEDITE_AUTH_SECRET, " +
			"--auth-secret-file, --auth-keys, --auth-jwks"},
		{"expedite: the handler of /x: Handler.Foo: no", "the handler of /x: Handler.Foo: no"},
		{"expedite: Config.Sessions.Redis: what follows from a wrong file", ""},
		{"expedite: Config.MaxMessage: what follows from a wrong value", ""},
	} {
		cause := errors.New(tt.text)
		err := l.Locate(cause)
		if tt.want == "" && err == nil {
			continue
		}
		if err == nil || err.Error() != tt.want || !errors.Is(err, cause) {
			t.Errorf("%q: got %v, want %q", tt.text, err, tt.want)
		}
	}
	if err := l.Locate(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
}

// TestInOrder checks that errors of the file come in the order of its lines, before the others, each of them once.
func TestInOrder(t *testing.T) {
	f := file("log-level: loud", "idle-timeout: 10s", "auth-secret: abc", "wrokers: 1", "workers: 0", "addr: :1,:x")
	l, err := Load(Sources{File: f, Flags: map[string][]string{"gogc": {"x"}}})
	more := l.Locate(errors.Join(
		errors.New("Config.LogDir: z"), fmt.Errorf("expedite: %w", errors.New("Config.IdleTimeout: y")),
		errors.New("Config.IdleTimeout: y"),
	))
	whole := configfile.NewError(0, "e.yaml: whole")
	var got []string
	for line := range strings.SplitSeq(InOrder(more, err, whole).Error(), "\n") {
		place, _, _ := strings.Cut(line, ": ")
		got = append(got, place)
	}
	want := "e.yaml e.yaml:1 e.yaml:2 e.yaml:3 e.yaml:4 e.yaml:5 e.yaml:6 --log-dir --gogc"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestElements checks that the error of a list quotes the element that is wrong, and not the others.
func TestElements(t *testing.T) {
	for _, tt := range []struct{ name, good, bad string }{
		{"addr", ":1", ":x"},
		{"addr", ":1", "unix:x"},
		{"addr", ":1", "0.0.0.0:1"},
		{"trusted-proxies", "10.0.0.0/8", "10.0.0.1/8"},
		{"admin-hosts", "a.example", "b.example:1"},
		{"origins", "https://a.example", "b.example"},
	} {
		_, err := Load(Sources{File: file("# nothing", tt.name+": "+tt.good+","+tt.bad)})
		want := fmt.Sprintf("e.yaml:2: %s: %q: ", tt.name, tt.bad)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), tt.bad) != 1 {
			t.Errorf("%s: got %v, want %q and the reason", tt.name, err, want)
		}
		if strings.Contains(tt.bad, "0.0.0.0") { // wrong beside the other one only
			continue
		}
		_, err = Load(Sources{File: file("# nothing", tt.name+": /x,"+tt.good+","+tt.bad)})
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("e.yaml:2: %s: \"/x\": ", tt.name)) ||
			!strings.Contains(err.Error(), "\n"+want) {
			t.Errorf("%s: got %v, want the errors of both elements", tt.name, err)
		}
	}
}
