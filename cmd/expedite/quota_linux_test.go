package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestWorkersOfAQuota checks that auto starts as many workers as the CPU quota of a real cgroup permits, and that the
// banner and doctor explain the number.
func TestWorkersOfAQuota(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() < 2 {
		t.Skip("needs two processors: with one, no quota changes the number of workers")
	}
	group := quotaGroup(t)
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	s.cmd = exec.Command("sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, group,
		command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control", s.control)
	s.cmd.Dir = t.TempDir()
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.cleanup)
	if st := s.await("it serves", allReady); len(st.Workers) != 1 {
		t.Errorf("got %d workers, want 1", len(st.Workers))
	}
	const says = "a CPU quota of 0.9, of cgroup "
	if out := s.output.String(); !strings.Contains(out, "1 process (auto: "+says) {
		t.Errorf("the banner does not say %q:\n%s", says, out)
	}
	out, err := exec.Command("sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, group, command, "doctor").CombinedOutput()
	if text := strings.Join(strings.Fields(string(out)), " "); !strings.Contains(text, "serve starts 1 worker, as many as the quota of cgroup") {
		t.Errorf("doctor does not say so (%v):\n%s", err, out)
	}
}

// quotaGroup creates a cgroup with a quota of 0.9 processors, of version 1 or 2, or skips the test.
func quotaGroup(t *testing.T) string {
	t.Helper()
	name := fmt.Sprint("expedite-test-", os.Getpid())
	for root, files := range map[string][]string{
		"/sys/fs/cgroup/cpu": {"cpu.cfs_period_us", "100000", "cpu.cfs_quota_us", "90000"},
		"/sys/fs/cgroup":     {"cpu.max", "90000 100000"},
	} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue // no hierarchy of that kind
		}
		group := filepath.Join(root, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(group) }) // when the server has ended
		set := true
		for i := 0; i < len(files); i += 2 {
			f, err := os.OpenFile(filepath.Join(group, files[i]), os.O_WRONLY, 0) // the kernel has created it
			if err != nil {
				set = false
				break
			}
			_, err = f.WriteString(files[i+1])
			_ = f.Close()
			set = set && err == nil
		}
		if set {
			return group
		}
	}
	t.Skip("no right to create a cgroup with a CPU quota")
	return ""
}
