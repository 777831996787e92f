package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// family returns the name and state of each child of a process, by pid.
func family(t *testing.T, parent int) map[int]string {
	t.Helper()
	found := make(map[int]string)
	for _, pid := range children(t, parent) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // "12 (name) S 1 …"
		if err != nil {
			continue // it has gone
		}
		head, rest, _ := strings.Cut(string(b), ") ")
		_, name, _ := strings.Cut(head, " (")
		found[pid] = name + " " + rest[:min(len(rest), 1)]
	}
	return found
}

// TestFirstProcess checks that a server that is the first process of a container reaps orphans, and its own workers as
// usual.
func TestFirstProcess(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespace of processes can be made here: %v: %s", err, out)
	}
	s := &server{t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{})}
	// Two orphans, one of which leads a process group of its own, like workers do: they end once the server is up.
	script := `(sleep 3 &) ; (setsid sleep 3 &) ; exec "$0" serve --addr 127.0.0.1:0 --admin off --workers 1 --control "$1"`
	s.cmd = exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, command, s.control)
	s.cmd.Dir = t.TempDir()
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	defer func() {
		if out, err := s.expedite("stop", "--fast"); err != nil {
			t.Errorf("stop: %v: %s", err, out)
		}
		<-s.ended
	}()
	st := s.await("it serves", allReady)
	if st.PID != 1 {
		t.Fatalf("the server is process %d, want 1", st.PID)
	}
	first := 0
	for _, pid := range children(t, s.cmd.Process.Pid) {
		first = pid
	}
	await := func(what string, ok func(map[int]string) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
			all := family(t, first)
			if ok(all) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("waited in vain until %s: %v", what, all)
			}
		}
	}
	await("the orphans are gone", func(all map[int]string) bool {
		return !strings.Contains(fmt.Sprint(all), "sleep")
	})
	for pid := range family(t, first) { // the worker: seen from outside
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	s.await("the worker is replaced", func(now control.Status) bool {
		return allReady(now) && now.Workers[0].PID != st.Workers[0].PID
	})
	await("nobody is left dead", func(all map[int]string) bool { return !strings.Contains(fmt.Sprint(all), " Z") })
	if strings.Contains(s.output.String(), "exit status unknown") {
		t.Errorf("the worker's end was taken away from who waited for it:\n%s", s.output)
	}
}
