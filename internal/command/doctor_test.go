package command

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/internal/doctor"
)

// examine runs `expedite doctor` in this process and returns its exit code.
func examine(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can be examined")
	}
	t.Setenv("REDIS_URL", "")
	t.Setenv("PORT", "")
	if err := unsetEmpty(); err != nil { // as main does
		t.Fatal(err)
	}
	var c struct {
		Doctor doctorCmd `cmd:""`
	}
	var out, errs bytes.Buffer
	parser, err := kong.New(&c, kong.Name("expedite"), kong.Writers(&out, &errs), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"doctor"}, args...)); err != nil {
		return exitUsage, out.String(), err.Error()
	}
	if err := c.Doctor.Run(&Console{&out, &errs, program("expedite")}); err != nil {
		return exitCode(err), out.String(), errs.String() + err.Error()
	}
	return exitFine, out.String(), errs.String()
}

// TestDoctor checks that the exit code is 1 if the requested connections do not fit, and 2 for wrong use.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string // on stdout or stderr
	}{
		{"a few fit", []string{"--connections", "1", "--workers", "1"}, exitFine, "1 connection fit"},
		{"more than any machine holds", []string{"--connections", "1000000000"}, exitFailed, "do not fit"},
		{"no such number", []string{"--connections=-1"}, exitUsage, "--connections"},
		{"no such number of workers", []string{"--workers", "0"}, exitUsage, "--workers"},
		{"no address", []string{"--addr", "localhost"}, exitUsage, "--addr"},
		{"no URL of a Redis", []string{"--redis", "http://user:secret@host"}, exitUsage, "--redis"},
		{"a file that exists", []string{"--write-sysctl", taken}, exitUsage, "--force"},
		{"a file that exists, by force", []string{"--write-sysctl", taken, "--force"}, exitFine, "sysctl --load"},
		{"a folder that does not exist", []string{"--write-sysctl", filepath.Join(dir, "no", "file")}, exitFailed, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := examine(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("got %d, %q, %q, want %d and %q", code, stdout, stderr, tt.code, tt.says)
			}
			if strings.Contains(stdout+stderr, "secret") {
				t.Error("the output has the secret of the URL")
			}
		})
	}
	got, err := os.ReadFile(taken)
	if err != nil || !bytes.HasPrefix(got, []byte("# Written by expedite doctor")) {
		t.Errorf("got %q, %v, want what is loaded by sysctl", got, err)
	}
}

// TestDoctorJSON checks the fields of the contract, and that stdout has nothing else.
func TestDoctorJSON(t *testing.T) {
	code, stdout, _ := examine(t, "--json", "--connections", "1000", "--workers", "2")
	var got struct {
		Capacity struct {
			Connections int64  `json:"connections"`
			Workers     int    `json:"workers"`
			BoundBy     string `json:"bound_by"`
		} `json:"capacity"`
		Findings []map[string]string `json:"findings"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if got.Capacity.Connections < 1 || got.Capacity.Workers != 2 || got.Capacity.BoundBy == "" || len(got.Findings) < 20 {
		t.Errorf("got %d, %+v, want a capacity and findings", code, got)
	}
	for _, f := range got.Findings {
		for _, key := range []string{"name", "level", "value", "want", "why", "mend"} {
			if _, ok := f[key]; !ok {
				t.Errorf("%v has no %q", f, key)
			}
		}
	}
}

// TestDoctorAsksRedis checks that a real Redis answers, and that other servers are recognized as such.
func TestDoctorAsksRedis(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: `make test` installs what is missing, if it may")
	}
	socket := filepath.Join(t.TempDir(), "redis")
	server := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--maxmemory", "100mb",
		"--maxmemory-policy", "allkeys-lru", "--requirepass", "opensesame", "--loglevel", "notice", "--dir", filepath.Dir(socket))
	log, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = server.Process.Kill() })
	t.Cleanup(func() { late.Stop(); _ = server.Process.Kill(); _ = server.Wait() })
	awaitLine(t, log, "ready to accept connections")
	for _, tt := range []struct{ name, url, says, level string }{
		{"with its password", "unix://:opensesame@" + socket, "maxmemory 100 MiB, allkeys-lru", "warn"},
		{"without", "unix://" + socket, "wants a password", "error"},
		{"with a wrong one", "unix://:wrong-secret@" + socket, "refuses the password", "error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stdout, stderr := examine(t, "--json", "--redis", tt.url)
			var r doctor.Report
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatal(err)
			}
			f := findingOf(t, r, "redis")
			if string(f.Level) != tt.level || !strings.Contains(f.Value, tt.says) {
				t.Errorf("got %+v, want %s with %q", f, tt.level, tt.says)
			}
			for _, secret := range []string{"opensesame", "wrong-secret"} {
				if strings.Contains(stdout+stderr, secret) {
					t.Errorf("the output has %q", secret)
				}
			}
		})
	}
}

// TestDoctorAsksEachRedis checks that there is a finding for each server of a list, as serve would read it.
func TestDoctorAsksEachRedis(t *testing.T) {
	t.Setenv("EXPEDITE_REDIS", "redis://:hidden@127.0.0.1:1, redis+sentinel://127.0.0.2:1,127.0.0.3:1/main")
	_, stdout, _ := examine(t, "--json")
	for _, want := range []string{`"127.0.0.1:1: `, `"127.0.0.2:1,127.0.0.3:1: `} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got %s, want %s", stdout, want)
		}
	}
	if strings.Contains(stdout, "hidden") {
		t.Error("the output has the password")
	}
}

// awaitLine reads until a line contains text. It fails at the end of the output.
func awaitLine(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var seen bytes.Buffer
	b := make([]byte, 4096)
	for !strings.Contains(seen.String(), text) {
		n, err := r.Read(b)
		seen.Write(b[:n])
		if err != nil {
			t.Fatalf("%v after %s", err, &seen)
		}
	}
}

func findingOf(t *testing.T, r doctor.Report, name string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %s", name)
	return doctor.Finding{}
}
