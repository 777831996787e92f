package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	wrong := "hang-timeout: 1s\nmax-partial: much\nwrokers: 2\nidle-timeout: 10s\n"
	out, code := check(wrong, []string{"EXPEDITE_WORKERS=0", "EXPEDITE_AUTH_SECRET=short"}, "a.yaml", "--log-queue", "0")
	for _, want := range []string{
		"a.yaml:2: max-partial: ", "a.yaml:3: unknown key \"wrokers\"", "EXPEDITE_WORKERS: ", "--log-queue: ",
		"EXPEDITE_AUTH_SECRET: auth: secret: ", "--hang-timeout is 1s", "--ping-interval is 50s",
	} {
		if !strings.Contains("\n"+out, "\nexpedite: "+want) && !strings.Contains(out, want) {
			t.Errorf("no line %q", want)
		}
	}
	if code != exitUsage || t.Failed() {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitUsage, out)
	}
	out, code = check("workers: 2\n", []string{"EXPEDITE_CONFIG=a.yaml", "EXPEDITE_WROKERS=1"}, "--admin", "off")
	want := "expedite: warning: unknown variable EXPEDITE_WROKERS: did you mean \"EXPEDITE_WORKERS\"?\n" +
		"the configuration is valid: 2 settings set, file: a.yaml\n"
	if code != exitFine || out != want {
		t.Errorf("a valid configuration: got %d, %q; want %q", code, out, want)
	}
	if out, code = check("", nil, "none.yaml"); code != exitUsage || !strings.Contains(out, "none.yaml: no such file") {
		t.Errorf("a file that is not there: got %d, %q", code, out)
	}
}

// TestPrintConfig checks that every source of a value is shown, and no secret.
func TestPrintConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "expedite.yaml"), []byte("workers: 3\ndrain-timeout: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command, "serve", "--print-config", "--drain-timeout", "6s")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "EXPEDITE_AUTH_SECRET=not to be shown", "REDIS_URL=redis://:hidden@host")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{
		"workers: 3 # expedite.yaml:1", "drain-timeout: 6s # --drain-timeout", "redis: redis://:********@host # REDIS_URL",
		"# auth-secret: ******** # EXPEDITE_AUTH_SECRET", "hang-timeout: 30s # default",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q", want)
		}
	}
	if strings.Contains(text, "hidden") || strings.Contains(text, "not to be") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
