package control

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestWatchExit checks that a wait ends with the process or with its context, whichever ends first.
func TestWatchExit(t *testing.T) {
	cmd := exec.Command("cat") // ends when its input does
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := watchExit(cmd.Process.Pid)
	defer e.close()
	if !e.known {
		t.Skip("this kernel has no pidfd")
	}
	short, cancel := context.WithTimeout(t.Context(), 3*exitPoll*time.Millisecond)
	defer cancel()
	e.wait(short)
	if short.Err() == nil {
		t.Error("the wait ended before the process and its context")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	e.wait(t.Context())
	if s := state(t, cmd.Process.Pid); s != "Z" {
		t.Errorf("after the wait: got state %s, want Z: ended, and nobody has asked for its result", s)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestWatchExitOfNobody checks that there is no wait without a process.
func TestWatchExitOfNobody(t *testing.T) {
	for _, pid := range []int{0, -1, os.Getpid()} {
		e := watchExit(pid)
		e.wait(t.Context())
		e.close()
	}
}

func state(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return after[:1]
}
