package settings

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/configfile"
)

// file returns a configuration file with entries in the lines 1, 2 and so on.
func file(lines ...string) configfile.File {
	f := configfile.File{Name: "e.yaml"}
	for i, line := range lines {
		key, text, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		f.Entries = append(f.Entries, configfile.Entry{Key: key, Line: i + 1, Texts: []string{text}})
	}
	return f
}

// TestTable checks that the defaults are valid, and that each row is complete.
func TestTable(t *testing.T) {
	l, err := Load(Sources{})
	if err != nil || len(l.Warnings) != 0 {
		t.Fatalf("without settings: %v, %q", err, l.Warnings)
	}
	seen := make(map[string]bool)
	for _, s := range l.table.settings() {
		if seen[s.Name] {
			t.Errorf("%s: twice", s.Name)
		}
		seen[s.Name] = true
		if !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: the help is no sentence: %q", s.Name, s.Help)
		}
		if (s.Default == "") == (s.Auto == "") && !s.IsSecret() {
			t.Errorf("%s: want either a default or what applies without a value: %q, %q", s.Name, s.Default, s.Auto)
		}
		if s.FileOf != "" && (l.table.find(s.FileOf) == nil || s.Name != s.FileOf+"-file") {
			t.Errorf("%s: the file of %s: want a secret, and its name with -file", s.Name, s.FileOf)
		}
		if s.to.secrecy != public && l.table.find(s.Name+"-file") == nil {
			t.Errorf("%s is a secret: want %s-file", s.Name, s.Name)
		}
		if s.FileOf == "" && s.to.set == nil {
			t.Errorf("%s sets nothing", s.Name)
		}
	}
	want := expedite.Config{
		Addr: ":8080", Admin: "127.0.0.1:9600", HangTimeout: 30 * time.Second, DrainTimeout: 30 * time.Second,
		ResponseTimeout: 30 * time.Second, BodyTimeout: 10 * time.Second, LogQueue: 1024, LogSample: 20,
		MaxMessage: 1 << 20, MaxFragments: 1024, MaxHead: 8 << 10, PingInterval: 50 * time.Second, IdleTimeout: 2 * time.Minute,
		MessageMinRate: expedite.Progress{Bytes: 1024, Per: 10 * time.Second},
		Sessions:       expedite.Sessions{TTL: time.Hour, EmptyTTL: 2 * time.Minute, MaxSessions: 2_000_000},
	}
	if !reflect.DeepEqual(l.Config, want) {
		t.Errorf("the defaults: got %+v, want %+v", l.Config, want)
	}
	if l.Verifier.Leeway != 5*time.Second {
		t.Errorf("the defaults: got a leeway of %v", l.Verifier.Leeway)
	}
}

// TestOrder checks that flags override variables, which override the file, and that an empty variable does not count.
func TestOrder(t *testing.T) {
	f := file("addr: :1", "workers: 1", "max-sessions: 1")
	for _, tt := range []struct {
		name  string
		flags map[string][]string
		env   []string
		want  string
	}{
		{"file", nil, nil, ":1"},
		{"an empty variable", nil, []string{"EXPEDITE_ADDR=", "PORT="}, ":1"},
		{"another variable", nil, []string{"PORT=2"}, ":2"},
		{"both variables", nil, []string{"PORT=2", "EXPEDITE_ADDR=:3"}, ":3"},
		{"a variable that is set twice", nil, []string{"EXPEDITE_ADDR=:3", "EXPEDITE_ADDR=:4"}, ":4"},
		{"flag", map[string][]string{"addr": {":5"}}, []string{"EXPEDITE_ADDR=:3"}, ":5"},
		{"the flag again", map[string][]string{"addr": {":5", ":6"}}, nil, ":5 :6"},
		{"a list", nil, []string{"EXPEDITE_ADDR=7, unix:/a?mode=0660"}, ":7 unix:/a?mode=0660"},
		{"an empty flag is the default", map[string][]string{"addr": {""}}, []string{"EXPEDITE_ADDR=:3"}, ":8080"},
	} {
		l, err := Load(Sources{Flags: tt.flags, Environ: tt.env, File: f})
		got := strings.Join(append([]string{l.Config.Addr}, l.Config.Addrs...), " ")
		if err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestEverySetting checks that each setting can be in the file, beside an empty variable.
func TestEverySetting(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	for _, s := range newTable(new(Program)).settings() {
		if s.IsSecret() {
			continue
		}
		text := map[string]string{
			"number": "7", "number or auto": "3", "size": "3MiB", "size or off": "3MiB", "size per second": "3MiB/s",
			"duration": "7s", "duration or 0": "7s", "list of addresses": ":7,unix:/a", "address or off": ":7", "URL": "http://a.example",
			"list of patterns":      "a*,b",
			"list of files":         "/a.pem,/b.pem",
			"list of domains":       "a.example,b.example",
			"https URL":             "https://ca.example/dir",
			"list of histories":     "room.*=100/1h,*=1/1m",
			"list of URLs of Redis": "redis://h,redis://i",
			"text":                  "x", "list of text": "a,b", "list of host names": "a.example,b.example", "list of origins": "http://a.example",
			"size in a time, or off": "5KiB/s", "events, or off": "0.5/3", "true or false": "true", "list of networks or unix": "10.0.0.0/8,unix",
		}[s.to.kind]
		switch {
		case len(s.to.enum) > 0:
			text = s.to.enum[len(s.to.enum)-1]
		case s.FileOf != "":
			text = secret
			content := map[string]string{"redis": "redis://127.0.0.1:1\n"}[s.FileOf]
			if err := os.WriteFile(secret, []byte(cmp.Or(content, "https://127.0.0.1:1\n")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if text == "" {
			t.Errorf("%s: this test has no value of the type %q", s.Name, s.to.kind)
			continue
		}
		plain, _ := Load(Sources{})
		l, err := Load(Sources{File: file(s.Name + ": " + text), Environ: []string{s.Variable() + "="}})
		if err != nil && !strings.Contains(err.Error(), "wants a") {
			t.Errorf("%s: %s: %v", s.Name, text, err)
		}
		if reflect.DeepEqual(l.Program, plain.Program) {
			t.Errorf("%s: %s changes nothing", s.Name, text)
		}
	}
}

// TestFaults checks that each wrong value is reported, with its place in front.
func TestFaults(t *testing.T) {
	f := file("addr: :x", "workers: 0", "drain-timeout: 30", "max-partial: 512", "auth-secret: abc", "wrokers: 1",
		"log-level: loud", "origins: x", "# nothing", "body-timeout: -1s", "max-connections: -1")
	_, err := Load(Sources{
		File:    f,
		Environ: []string{"EXPEDITE_MAX_QUEUED=much", "EXPEDITE_AUTH=required"},
		Flags: map[string][]string{
			"hang-timeout": {"5"}, "redis": {"redis://user:hidden@host"}, "message-min-rate": {"1KiB"},
			"memory": {"0"}, "conn-rate-in": {"12"}, "procs": {"x"}, "auth-jwks": {"ftp://x"}, "scheduling": {"x"},
			"presence": {"lobby", " "},
		},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	text := "\n" + err.Error()
	for _, want := range []string{
		`e.yaml:1: addr: ":x": want host:port`,
		`e.yaml:2: workers: "0": want auto or a number from 1 to `,
		`e.yaml:3: drain-timeout: "30": want a time above zero with a unit, like 30s`,
		`e.yaml:4: max-partial: "512": want a size above zero with a unit`,
		`e.yaml:5: auth-secret: a secret is not in this file: put it into EXPEDITE_AUTH_SECRET`,
		`e.yaml:6: unknown key "wrokers": did you mean "workers"?`,
		`e.yaml:7: log-level: "loud": want debug, info, warn or error`,
		`e.yaml:8: origins: "x": no scheme or no host: want one like`,
		`e.yaml:10: body-timeout: "-1s": want 0 or more with a unit`,
		`e.yaml:11: max-connections: "-1": want a number, 0 or more`,
		`EXPEDITE_MAX_QUEUED: "much": want a size`,
		`--hang-timeout: "5": want 0 or more with a unit`,
		`--redis: other users of this machine can read the password in the arguments: put the URL into EXPEDITE_REDIS`,
		`--message-min-rate: "1KiB": want a size in a time, like 1KiB/10s, or off`,
		`--memory: "0": want a size above zero`,
		`--conn-rate-in: "12": want a size per second`,
		`--procs: "x": want a number, 0 or more`,
		`--auth-jwks: "ftp://x": want a URL`,
		`--scheduling: "x": want round-robin, least-connections or none`,
		`--presence: "": want a pattern of topics`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no line %q", want)
		}
	}
	if strings.Contains(text, "hidden") || strings.Contains(text, "abc") {
		t.Errorf("a secret is shown")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestTogether checks that settings that do not fit together are an error, at the place of the one that wants the other.
func TestTogether(t *testing.T) {
	for _, tt := range []struct {
		file configfile.File
		env  []string
		want string
	}{
		{file("require-redis: true"), nil, "e.yaml:1: require-redis: wants a Redis"},
		{file("redis: redis://h", "require-redis: true"), nil, ""},
		{file("auth: required"), nil, "e.yaml:1: auth: required wants a key"},
		{file(), []string{"EXPEDITE_AUTH=required"}, "EXPEDITE_AUTH: required wants a key"},
		{file("auth: required"), []string{"EXPEDITE_AUTH_SECRET=x"}, ""},
		{file("auth: required", "auth-keys: x"), nil, ""},
	} {
		_, err := Load(Sources{File: tt.file, Environ: tt.env})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%+v, %q: got %v, want %q", tt.file, tt.env, err, tt.want)
		}
	}
}

// TestSecretFiles checks the rules of files with secrets.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	redis := write("redis", "redis://u:pw@127.0.0.1:1\r\n", 0o600)
	open := write("open", "secret of a client\n", 0o644)
	l, err := Load(Sources{Environ: []string{"REDIS_URL_FILE=" + redis, "EXPEDITE_AUTH_INTROSPECT_SECRET_FILE=" + open}})
	if err != nil || l.Config.Sessions.Redis != "redis://u:pw@127.0.0.1:1" || l.Verifier.ClientSecret != "secret of a client" {
		t.Errorf("got %q, %q, %v", l.Config.Sessions.Redis, l.Verifier.ClientSecret, err)
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], open+" can be read by every user") {
		t.Errorf("warnings: %q", l.Warnings)
	}
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{[]string{"EXPEDITE_REDIS_FILE=" + dir + "/none"}, "EXPEDITE_REDIS_FILE: stat " + dir + "/none: no such file"},
		{[]string{"EXPEDITE_REDIS_FILE=" + write("empty", "\n", 0o600)}, "EXPEDITE_REDIS_FILE: " + dir + "/empty is empty"},
		{[]string{"EXPEDITE_REDIS_FILE=" + redis, "REDIS_URL=redis://h"}, "EXPEDITE_REDIS_FILE: redis is set too (REDIS_URL)"},
		{[]string{"EXPEDITE_AUTH_SECRET_FILE=" + open, "EXPEDITE_AUTH_SECRET=x"}, "EXPEDITE_AUTH_SECRET_FILE: auth-secret is set too (EXPEDITE_AUTH_SECRET)"},
		{[]string{"EXPEDITE_AUTH_SECRET_FILE=" + dir}, "EXPEDITE_AUTH_SECRET_FILE: read " + dir},
		{[]string{"EXPEDITE_AUTH_SECRET_FILE=" + write("big", strings.Repeat("x", maxSecret+1), 0o600)}, "EXPEDITE_AUTH_SECRET_FILE: " + dir + "/big has 65537 bytes"},
	} {
		if _, err := Load(Sources{Environ: tt.env}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.env, err, tt.want)
		}
	}
}

// TestRedis checks how several servers are written, and that errors and passwords are those of each one.
func TestRedis(t *testing.T) {
	const a, b = "redis://:pw@a:1", "redis+sentinel://b,c:2/main/3"
	secret := filepath.Join(t.TempDir(), "redis")
	if err := os.WriteFile(secret, []byte(a+"\n"+b+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list := configfile.File{Entries: []configfile.Entry{{Key: "redis", Line: 1, List: true, Texts: []string{a, b}}}}
	for name, src := range map[string]Sources{
		"commas": {Environ: []string{"REDIS_URL=" + a + "," + b}}, "spaces": {Environ: []string{"EXPEDITE_REDIS= " + a + "  " + b}},
		"both": {Environ: []string{"EXPEDITE_REDIS=" + a + ", " + b + ","}}, "a file": {Environ: []string{"REDIS_URL_FILE=" + secret}},
		"a list": {File: list}, "a text": {File: file("redis: " + a + "," + b)},
	} {
		l, err := Load(src)
		if c := l.Config; err != nil || c.Sessions.Redis != a || !slices.Equal(c.MoreRedis, []string{b}) {
			t.Errorf("%s: got %q, %q, %v", name, c.Sessions.Redis, c.MoreRedis, err)
		}
	}
	l, err := Load(Sources{Flags: map[string][]string{"redis": {"redis://a", b, "unix:///x,y"}}})
	if c := l.Config; err != nil || c.Sessions.Redis != "redis://a" || !slices.Equal(c.MoreRedis, []string{b, "unix:///x,y"}) {
		t.Errorf("flags: got %q, %q, %v", c.Sessions.Redis, c.MoreRedis, err)
	}
	for text, want := range map[string]string{
		"redis://a,b":                        `REDIS_URL: "redis://a,b": several hosts`,
		"redis://a redis://:pw@a:6379":       "REDIS_URL: URLs 1 and 2 have the same address",
		"redis://a,nonsense://:pw@b":         `REDIS_URL: "nonsense://:` + mask + `@b": an unknown scheme`,
		"redis://:p,w w@a,b redis://:p w@:x": `REDIS_URL: "redis://:` + mask + `@`,
	} {
		_, err := Load(Sources{Environ: []string{"REDIS_URL=" + text}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "w@") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	_, err = Load(Sources{Flags: map[string][]string{"redis": {"redis://a", "redis://:pw@b"}}})
	if err == nil || strings.Contains(err.Error(), "pw") || !strings.HasPrefix(err.Error(), "--redis: other users") {
		t.Errorf("a password in the second flag: got %v", err)
	}
}

// TestUnknownVariables checks which variables are reported.
func TestUnknownVariables(t *testing.T) {
	for _, tt := range []struct{ variable, want string }{
		{"EXPEDITE_WROKERS=3", `unknown variable EXPEDITE_WROKERS: did you mean "EXPEDITE_WORKERS"?`},
		{"EXPEDITE_NONSENSE=3", "unknown variable EXPEDITE_NONSENSE"},
		{"EXPEDITE_PORT=8080", "unknown variable EXPEDITE_PORT"},
		{"EXPEDITE_NONSENSE=", ""},
		{"EXPEDITE_OWN=1", ""},
		{"EXPEDITE_AUTH_SECRET=x", ""},
		{"OTHER=3", ""},
		{"EXPEDITE_PORT=tcp://10.0.0.1:8080", ""},
		{"EXPEDITE_SERVICE_HOST=10.0.0.1", ""},
		{"EXPEDITE_SERVICE_PORT=8080", ""},
		{"EXPEDITE_SERVICE_PORT_WS=8080", ""},
		{"EXPEDITE_PORT_8080_TCP=tcp://10.0.0.1:8080", ""},
		{"EXPEDITE_PORT_8080_TCP_PROTO=tcp", ""},
		{"EXPEDITE_PORT_8080_TCP_PORT=8080", ""},
		{"EXPEDITE_PORT_8080_TCP_ADDR=10.0.0.1", ""},
		{"EXPEDITE_WEB_2_PORT=tcp://10.0.0.1:8080", ""},
		{"EXPEDITE_WEB_2_SERVICE_HOST=10.0.0.1", ""},
		{"EXPEDITE_WEB_2_PORT_53_UDP_ADDR=10.0.0.1", ""},
	} {
		l, err := Load(Sources{Environ: []string{tt.variable}, Variables: []string{"EXPEDITE_OWN"}})
		if got := strings.Join(l.Warnings, "\n"); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.variable, got, err, tt.want)
		}
	}
}

// TestHiddenVariables checks that a variable that another one hides is reported, without its value.
func TestHiddenVariables(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		want    string
	}{
		{[]string{"REDIS_URL=redis://:pw@b", "EXPEDITE_REDIS=redis://:pw@a"},
			"REDIS_URL is ignored: EXPEDITE_REDIS is set, too, and says something else: unset one of them"},
		{[]string{"REDIS_URL=redis://a", "EXPEDITE_REDIS=redis://a"}, ""},
		{[]string{"REDIS_URL=redis://a", "EXPEDITE_REDIS="}, ""},
		{[]string{"REDIS_URL=redis://a"}, ""},
		{[]string{"PORT=1", "EXPEDITE_ADDR=:2"},
			"PORT is ignored: EXPEDITE_ADDR is set, too, and says something else: unset one of them"},
		{[]string{"PORT=2", "EXPEDITE_ADDR=:2"}, ""},
	} {
		l, err := Load(Sources{Environ: tt.environ})
		if got := strings.Join(l.Warnings, "\n"); err != nil || got != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.environ, got, err, tt.want)
		}
	}
}

// TestMaskPassword checks that a password of a URL is found, even in a broken one.
func TestMaskPassword(t *testing.T) {
	for url, want := range map[string]string{
		"redis://127.0.0.1:6379/0": "", "redis://user@host:1": "", "redis://:pw@host": "redis://:" + mask + "@host",
		"redis://u:p/w@x@host:1/0": "redis://u:" + mask + "@host:1/0", "u:pw@host": "u:" + mask + "@host", "": "", "x://:@h": "",
		"r+s://:pw@h:1/m?sentinel_password=a&db=1": "r+s://:" + mask + "@h:1/m?sentinel_password=" + mask + "&db=1",
		"https://h:8443/keys@v1":                   "", "https://u:pw@%zz/keys": "https://u:" + mask + "@%zz/keys",
		"https://h/keys?access_token=a": "https://h/keys?access_token=" + mask,
	} {
		if want == "" {
			want = url
		}
		if got := maskPassword(url); got != want {
			t.Errorf("%q: got %q, want %q", url, got, want)
		}
	}
}

// TestInFlags checks that errors of packages name flags.
func TestInFlags(t *testing.T) {
	for text, want := range map[string]string{
		"Config.Tuning.ConnRate.In is -1":  "--conn-rate-in is -1",
		"Config.Auth.Origins: x":           "--origins: x",
		"Config.Auth.Mode and Handler.Foo": "--auth and Handler.Foo",
		"Config.PingInterval":              "--ping-interval",
		"Verifier.Secret: too short":       "EXPEDITE_AUTH_SECRET: too short",
		"Config.MessageMinRate":            "--message-min-rate",
		"Config.Addr":                      "--addr",
		"without Config.Auth.Verifier":     "without --auth-introspect, EXPEDITE_AUTH_SECRET, --auth-secret-file, --auth-keys, --auth-jwks",
	} {
		if got := InFlags(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestFlags checks that flags get to their settings.
func TestFlags(t *testing.T) {
	f := NewFlags("Sessions")
	v := reflect.ValueOf(f.Grammar()).Elem()
	yes := true
	v.FieldByName("RequireRedis").Set(reflect.ValueOf(&yes))
	v.FieldByName("SessionTtl").Set(reflect.ValueOf([]string{"5s"}))
	if got, want := f.Given(), map[string][]string{"require-redis": {"true"}, "session-ttl": {"5s"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOneErrorPerMistake checks that a secret file that is missing is not told again as a missing key, and that a file
// with a password that everybody can read is a warning.
func TestOneErrorPerMistake(t *testing.T) {
	_, err := Load(Sources{Environ: []string{"EXPEDITE_AUTH_SECRET_FILE=/nowhere", "EXPEDITE_AUTH=required"}})
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.HasPrefix(err.Error(), "EXPEDITE_AUTH_SECRET_FILE: ") {
		t.Errorf("got %v, want one error", err)
	}
	name := filepath.Join(t.TempDir(), "e.yaml")
	for mode, want := range map[os.FileMode]int{0o644: 1, 0o600: 0} {
		if err := errors.Join(os.WriteFile(name, nil, mode), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		l, err := Load(Sources{File: configfile.File{Name: name, Entries: []configfile.Entry{
			{Key: "redis", Line: 1, Texts: []string{"redis://u:secret@host"}},
		}}})
		if err != nil || len(l.Warnings) != want || strings.Contains(strings.Join(l.Warnings, ""), "secret") {
			t.Errorf("mode %o: got %v, %q, want %d warnings", mode, err, l.Warnings, want)
		}
	}
}
