package settings

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/configfile"
)

// read returns a configuration file with a text.
func read(t *testing.T, text string) configfile.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "e.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := configfile.Read(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	f.Name = "e.yaml"
	return f
}

// TestWriteText checks that settings are printed with their places, that secrets are masked, and that what is printed
// is a configuration file with the same settings.
func TestWriteText(t *testing.T) {
	src := Sources{
		File: read(t, "addr: :1\norigins: [https://a.example, 'https://*.b.example']\nadmin: off\nlog-query: 'a, b'\n"+
			"session-cookie: 'yes: #1'\nlog-dir: '~'\ncontrol: '[x]'\nredis: [redis://u:hidden@h:1, 'redis+sentinel://:hidden@i,j/main']\nworkers:\nrequire-redis: true\n"),
		Environ: []string{"EXPEDITE_AUTH_SECRET=hidden", "EXPEDITE_GOGC=200", "PORT=2"},
		Flags:   map[string][]string{"log-sample": {"-1"}},
	}
	l, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"addr: [2] # PORT", "origins: [https://a.example, https://*.b.example] # e.yaml:2", "admin: off # e.yaml:3",
		"gogc: 200 # EXPEDITE_GOGC", "log-sample: -1 # --log-sample", "workers: auto # default",
		"# auth-secret: " + mask + " # EXPEDITE_AUTH_SECRET", "redis: [redis://u:" + mask + "@h:1, \"redis+sentinel://:" + mask + "@i,j/main\"] # e.yaml:8",
		"# max-queued: # default: a quarter of the heap", "drain-timeout: 30s # default", "require-redis: true # e.yaml:10",
	} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.Join(strings.Fields(line), " ") == want
		}
		if !found {
			t.Errorf("no line %q", want)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Error("a secret is shown")
	}
	again, err := Load(Sources{File: read(t, text)})
	again.Config.MoreRedis = l.Config.MoreRedis
	again.Config.Sessions.Redis, again.Verifier.Secret = l.Config.Sessions.Redis, l.Verifier.Secret
	if err != nil || !reflect.DeepEqual(again.Program, l.Program) {
		t.Errorf("what was printed: got %+v, %v; want %+v", again.Program, err, l.Program)
	}
	if t.Failed() {
		t.Log(text)
	}
}
