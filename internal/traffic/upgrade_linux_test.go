package traffic

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// previous builds this test binary from the previous release. That is the latest tag or, if there are no tags, the
// previous commit.
func previous(t *testing.T) (binary, revision string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	root, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		t.Skip("not a Git checkout: there is no previous release")
	}
	revision, err = git("describe", "--tags", "--abbrev=0", "HEAD^")
	if err != nil {
		revision, err = git("rev-parse", "HEAD^")
	}
	if err != nil {
		t.Skip("the history of this checkout ends here: there is no previous release")
	}
	dir := t.TempDir()
	archive, err := exec.Command("git", "-C", root, "archive", revision).Output()
	if err != nil {
		t.Fatal(err)
	}
	tar := exec.Command("tar", "-x", "-C", dir)
	tar.Stdin = bytes.NewReader(archive)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	binary = filepath.Join(dir, "previous.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "./internal/traffic")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build of %s: %v: %s", revision, err, out)
	}
	return binary, revision
}

// TestUpgradeFromThePreviousRelease upgrades to this build and back, and checks that all connections move, also those
// with TLS.
func TestUpgradeFromThePreviousRelease(t *testing.T) {
	old, revision := previous(t)
	t.Log("the previous release is", revision)
	t.Run("plain", func(t *testing.T) { upgrades(t, old, serverConfig{Workers: 2}, Mix("", 300)) })
	t.Run("TLS", func(t *testing.T) {
		server, cfg := serverConfig{Workers: 2}, Mix("", 100)
		cfg.TLS = secured(t, &server)
		upgrades(t, old, server, cfg)
	})
}

func upgrades(t *testing.T, old string, server serverConfig, cfg Config) {
	s := launch(t, old, server)
	run := s.crowd(cfg)
	for i := range 2 {
		for _, binary := range []string{self(t), old} {
			s.install(binary)
			res, err := s.reload(control.ReloadRequest{})
			if err != nil {
				t.Fatalf("upgrade %d to %s: %v", i+1, binary, err)
			}
			if res.Failed+res.Drained != 0 || res.Moved < uint64(cfg.Clients()) || !res.PrimaryReplaced {
				t.Errorf("upgrade %d to %s: %+v", i+1, binary, res)
			}
			for _, pid := range append(s.pids(), s.cmd.Process.Pid) {
				s.runs(pid, binary)
			}
		}
	}
	s.finish(run)
}

// runs fails the test unless process pid runs binary.
func (s *server) runs(pid int, binary string) {
	s.t.Helper()
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		s.t.Error(err)
		return
	}
	want, err := os.ReadFile(binary)
	if err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		s.t.Errorf("process %d does not run %s", pid, binary)
	}
}
