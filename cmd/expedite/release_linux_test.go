package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/expedite-go/expedite/internal/control"
)

// releases is a folder as deploys use it: a folder for each release, and a link to the current one.
type releases struct {
	t   *testing.T
	dir string
}

func newReleases(t *testing.T) releases {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return releases{t, dir}
}

// add creates a release with the program of these tests, and returns its path.
func (r releases) add(name string) string {
	r.t.Helper()
	program, err := os.ReadFile(command)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.addFile(name, program)
}

func (r releases) addFile(name string, program []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name, "expedite")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a child that is forked now would have the file open: "text file busy"
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, program, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// current makes the link point to a release, atomically.
func (r releases) current(name string) {
	r.t.Helper()
	next := filepath.Join(r.dir, "next")
	if err := os.Symlink(name, next); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(r.dir, "current")); err != nil {
		r.t.Fatal(err)
	}
}

// programs returns the files that the primary and the workers of a server run, by process.
func (s *server) programs(st control.Status) map[string]string {
	s.t.Helper()
	list := make(map[string]string)
	add := func(name string, pid int) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			s.t.Fatal(err)
		}
		list[name] = strings.TrimSuffix(exe, " (deleted)")
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || string(comm) != "expedite\n" {
			s.t.Errorf("%s is called %q, %v; want expedite", name, comm, err)
		}
	}
	add("primary", st.PID)
	for _, w := range st.Workers {
		add(fmt.Sprint("worker ", w.Slot), w.PID)
	}
	return list
}

// wantProgram waits until n workers are ready, and checks that all processes run one file.
func (s *server) wantProgram(path string, n int) control.Status {
	s.t.Helper()
	st := s.await(fmt.Sprintf("%d workers are ready", n), func(st control.Status) bool {
		return allReady(st) && len(st.Workers) == n
	})
	for name, got := range s.programs(st) {
		if got != path {
			s.t.Errorf("%s runs %s, want %s", name, got, path)
		}
	}
	return st
}

// killWorker kills the worker of a slot and waits for its replacement.
func (s *server) killWorker(slot int) {
	s.t.Helper()
	st, err := s.status()
	if err != nil {
		s.t.Fatal(err)
	}
	pid := st.Workers[slot-1].PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.await("there is another worker", func(st control.Status) bool {
		return len(st.Workers) >= slot && st.Workers[slot-1].PID != pid && allReady(st)
	})
}

// roll runs a command that replaces or adds workers.
func (s *server) roll(args ...string) {
	s.t.Helper()
	out, err := exec.Command(command, append(args, "--control", s.control)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v: %s", args[0], err, out)
	}
}

// TestOneProgram checks that all processes run the program that the server was started with until a reload, and
// afterwards the one that its name leads to, whether it was named through a link to a folder, through the working
// directory, or by PATH.
func TestOneProgram(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		prepare func(r releases, cmd *exec.Cmd)
	}{
		{"by a link", func(r releases, cmd *exec.Cmd) {
			cmd.Path = filepath.Join(r.dir, "current", "expedite")
			cmd.Args[0] = cmd.Path
		}},
		{"from a folder", func(r releases, cmd *exec.Cmd) {
			cmd.Dir = filepath.Join(r.dir, "current")
			cmd.Path, cmd.Args[0] = filepath.Join(cmd.Dir, "expedite"), "./expedite"
			cmd.Env = append(os.Environ(), "PWD="+cmd.Dir)
		}},
		{"by PATH", func(r releases, cmd *exec.Cmd) {
			cmd.Path, cmd.Args[0] = filepath.Join(r.dir, "current", "expedite"), "expedite"
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(r.dir, "current")+":"+os.Getenv("PATH"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReleases(t)
			first := r.add("1")
			r.current("1")
			s := serveAs(t, func(cmd *exec.Cmd) { tt.prepare(r, cmd) }, "--workers", "1")
			second := r.add("2")
			r.current("2")
			s.killWorker(1)
			s.wantProgram(first, 1)
			s.roll("scale", "2")
			s.wantProgram(first, 2)
			s.roll("reload", "--canary", "0s")
			s.wantProgram(second, 2)
			if err := os.RemoveAll(filepath.Dir(first)); err != nil {
				t.Fatal(err)
			}
			s.killWorker(2)
			s.roll("reload", "--canary", "0s")
			s.wantProgram(second, 2)
		})
	}
}

// TestBrokenProgramOnDisk checks that a broken file in place of the program has no effect until a reload, which refuses
// it.
func TestBrokenProgramOnDisk(t *testing.T) {
	t.Parallel()
	r := newReleases(t)
	first := r.add("1")
	r.current("1")
	s := serveAs(t, func(cmd *exec.Cmd) {
		cmd.Path = filepath.Join(r.dir, "current", "expedite")
		cmd.Args[0] = cmd.Path
	}, "--workers", "2")
	r.addFile("2", []byte("this is no program\n"))
	r.current("2")
	s.killWorker(1)
	s.wantProgram(first, 2)
	if out, err := exec.Command(command, "reload", "--control", s.control).CombinedOutput(); err == nil {
		t.Errorf("reload: got %s, want an error", out)
	}
	s.killWorker(2)
	s.wantProgram(first, 2)
}
