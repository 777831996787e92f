package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// TestBadCertificateFiles: whatever is wrong with the files, a worker that ends comes back with the certificate in use,
// and one that is added has it, too. A reload with such files is refused, and one with good files uses them.
func TestBadCertificateFiles(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.serve("--workers", "2")
	serves := func(when, want string) {
		t.Helper()
		for range 4 { // several workers
			status, _, got := (operator{t, a.Authority}).get("https://" + s.addr + "/healthz")
			if status != http.StatusOK || got != want {
				t.Errorf("%s: got %d and the certificate of %q, want %q", when, status, got, want)
			}
		}
	}
	refused := func(when, why string) {
		t.Helper()
		out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput()
		if err == nil || !strings.Contains(string(out), why) {
			t.Errorf("reload with %s: got %v, %s", when, err, out)
		}
	}
	write := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	two := a.Issue("two", "two.test")
	write(two.Cert, a.Cert)
	s.killWorker(1)
	serves("the key of another certificate", "localhost")
	refused("the key of another certificate", "tls-cert")
	old := a.IssueUntil("old", "old.test", time.Now().Add(-time.Hour))
	write(old.Cert, a.Cert)
	write(old.Key, a.Key)
	s.killWorker(2)
	serves("an expired certificate", "localhost")
	refused("an expired certificate", "has expired")
	if err := errors.Join(os.Remove(a.Cert), os.Remove(a.Key)); err != nil {
		t.Fatal(err)
	}
	s.roll("scale", "3")
	s.await("there are three", func(st control.Status) bool { return len(st.Workers) == 3 && allReady(st) })
	serves("no files", "localhost")
	refused("no files", "tls-cert")
	write(two.Cert, a.Cert)
	write(two.Key, a.Key)
	s.roll("reload")
	serves("good files", "two.test")
	log := s.output.String()
	if !strings.Contains(log, "certificates not read: the earlier ones stay in use") {
		t.Error("the log does not tell")
	}
	key, err := os.ReadFile(a.Key)
	if err != nil || strings.Contains(log, "PRIVATE KEY") || strings.Contains(log, strings.Split(string(key), "\n")[1]) {
		t.Errorf("the log has a key: %v", err)
	}
}

// TestConfigCheckOfCertificates: one that has expired is a warning, because a server starts with it.
func TestConfigCheckOfCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	old := a.IssueUntil("old", "old.test", time.Now().Add(-time.Hour))
	for cert, warns := range map[string]bool{a.Cert: false, old.Cert: true} {
		out, err := exec.Command(command, "config", "check", "--tls-cert", cert,
			"--tls-key", strings.TrimSuffix(cert, ".pem")+".key").CombinedOutput()
		if err != nil || strings.Contains(string(out), "warning: tls-cert: "+cert+" has expired") != warns {
			t.Errorf("%s: got %v, %s", cert, err, out)
		}
	}
}
