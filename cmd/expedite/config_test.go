package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/settings"
)

// TestConfigCheck checks that all errors of the file, the environment and the flags are listed with their places, also
// those that serve finds only when it opens keys and compares settings, and that a valid configuration is one line.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	check := func(text string, env []string, args ...string) (string, int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command, append([]string{"config", "check"}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	wrong := "hang-timeout: 1s\nmax-partial: much\nwrokers: 2\nidle-timeout: 10s\norigins: [\"https://a.example\", b]\n"
	out, code := check(wrong, []string{"EXPEDITE_WORKERS=0", "EXPEDITE_AUTH_SECRET=short"}, "a.yaml", "--log-queue", "0")
	var places []string
	for line := range strings.Lines(out) {
		if m := regexp.MustCompile(`^expedite: ([^ ]+:\d+: [^: ]+|[^: ]+)`).FindStringSubmatch(line); m != nil {
			places = append(places, m[1])
		}
	}
	want := []string{
		"a.yaml:1: hang-timeout", "a.yaml:2: max-partial", "a.yaml:3: unknown", "a.yaml:4: idle-timeout", "a.yaml:5: origins",
		"EXPEDITE_WORKERS", "--log-queue", "EXPEDITE_AUTH_SECRET",
	}
	if code != 2 || !slices.Equal(places, want) {
		t.Errorf("got %d, errors of %q; want %d, %q\n%s", code, places, 2, want, out)
	}
	out, code = check("workers: 2\n", []string{"EXPEDITE_CONFIG=a.yaml", "EXPEDITE_WROKERS=1"}, "--admin", "off")
	valid := "expedite: warning: unknown variable EXPEDITE_WROKERS: did you mean \"EXPEDITE_WORKERS\"?\n" +
		"the configuration is valid: 2 settings set, file: a.yaml\n"
	if code != 0 || out != valid {
		t.Errorf("a valid configuration: got %d, %q; want %q", code, out, valid)
	}
	if out, code = check("", nil, "none.yaml"); code != 2 || !strings.Contains(out, "none.yaml: no such file") {
		t.Errorf("a file that is not there: got %d, %q", code, out)
	}
	if out, code = check("", nil, "a.yaml", "--config", "b.yaml"); code != 2 || !strings.Contains(out, "name one") {
		t.Errorf("two files: got %d, %q", code, out)
	}
	if out, code = check("", nil, "a.yaml", "--config", "a.yaml", "--gogc", "-1"); code != 0 {
		t.Errorf("a number below zero, and one file twice: got %d, %q", code, out)
	}
}

// anyText are the settings of which every text is valid, as far as that can be told without a start.
var anyText = []string{
	"control", "state-dir", "auth-introspect-client", "auth-issuer", "auth-audience", "log-dir", "log-query", "log-header",
}

// TestPlaces checks that the error of each setting begins with the line of the file, or with the variable, that has the
// value, also if only the root package or the keys find it.
func TestPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	values := [][2]string{
		{"hang-timeout", "1s"},
		{"max-head", "10B"},
		{"proxy-protocol", "true"},
		{"idle-timeout", "10s"},
		{"ping-interval", "5m"},
		{"addr", "127.0.0.1:0?proxy-protocol"},
		{"addr", "unix:/x?group=no-such-group"},
		{"addr", ":1,0.0.0.0:1"},
		{"addr", "127.0.0.1:9600"},
		{"admin", "127.0.0.1:8080"},
		{"session-cookie", "a b"},
		{"auth-keys", "/nowhere"},
		{"auth-secret-file", short},
		{"require-redis", "true"},
		{"auth", "required"},
		{"auth-jwks", "http://a.example"},
		{"auth-introspect", "http://a.example"},
	}
	for _, name := range settings.Keys() {
		value := "/no such value"
		if name == "presence" { // any bytes but zero are a pattern, but not as many
			value = strings.Repeat("x", 300)
		}
		values = append(values, [2]string{name, value})
	}
	for _, v := range values {
		name, value := v[0], v[1]
		if slices.Contains(anyText, name) {
			continue
		}
		variable := "EXPEDITE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		for _, tt := range []struct{ text, variable, want string }{
			{"# nothing\n" + name + ": \"" + value + "\"\n", "", file + ":2: " + name},
			{"", value, variable},
		} {
			t.Run(tt.want+" "+value, func(t *testing.T) {
				t.Setenv(variable, tt.variable)
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
				var out strings.Builder
				code := run([]string{"config", "check", file}, &out, &out)
				if code != 2 || !strings.HasPrefix(out.String(), "expedite: "+tt.want) || strings.Count(out.String(), "\n") != 1 {
					t.Errorf("got %d, %q; want %q and the reason", code, out.String(), tt.want)
				}
			})
		}
	}
}
