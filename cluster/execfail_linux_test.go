package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTrialThatFails(t *testing.T) {
	l := startPrimaryProcess(t, "serve")
	if err := os.WriteFile(l.veto, []byte("version 7 is too old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := l.status()
	for range 3 {
		l.order("exec")
		if got := l.await("failed "); !strings.HasSuffix(got, `, on trial: exit status 1: version 7 is too old"`) {
			t.Errorf("error %s", got)
		}
	}
	after := l.status()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("after a trial\n%+v, before\n%+v", after, before)
	}
	if err := os.Remove(l.veto); err != nil {
		t.Fatal(err)
	}
	l.exec(2)
}

// script writes a shell script to a file.
func script(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	syscall.ForkLock.RLock() // a child that is forked now would have the file open, which prevents its execution
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExecThatFailsLeavesEverythingWorking(t *testing.T) {
	gone := script(t, "exit 0", 0o700)
	answers := script(t, `printf yes >&"$EXPEDITE_ANSWER"; exit 1`, 0o700)
	for _, tt := range []struct {
		name, program, want string
		before              func()
		state               error
	}{
		{"a program that is not there", "/nowhere/at-all", "no such file or directory", nil, nil},
		{"a program that cannot be executed", script(t, "exit 0", 0o600), "permission denied", nil, nil},
		{"a trial with words", script(t, "echo one >&2; echo two; exit 1", 0o700), "exit status 1: two", nil, nil},
		{"a trial that is killed", script(t, "kill -9 $$", 0o700), "on trial: signal: killed", nil, nil},
		{"state that cannot be had", script(t, "exit 0", 0o700), "no state", nil, errors.New("no state")},
		{
			"a program that goes away after its trial", gone, "exec " + gone + ": no such file or directory",
			func() { _ = os.Remove(gone) }, nil,
		},
		{
			"a trial that answers and then fails", answers, "exec " + answers + ": no such file or directory",
			func() { _ = os.Remove(answers) }, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := make(chan string, 100)
			g := start(t, Config{
				Workers: 2, Listen: anyPort, OnMessage: func(_ *Worker, m []byte) { answers <- string(m) },
			}, "serve")
			g.Setup(Settings{Exec: tt.program})
			g.dialSome(2)
			before, fds, list := g.Stats(), openFDs(t, os.Getpid()), pids(g.Primary)
			for range 3 {
				err := g.Exec(t.Context(), ExecOptions{
					Before: tt.before, State: func() ([]byte, error) { return []byte("state"), tt.state },
				})
				if !errors.Is(err, ErrExec) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
				if tt.before != nil {
					break
				}
			}
			if after := g.Stats(); after != before {
				t.Errorf("counters %+v, want %+v", after, before)
			}
			if after := openFDs(t, os.Getpid()); after > fds {
				t.Errorf("%d descriptors are open, %d were", after, fds)
			}
			judgeWorking(t, g, answers)
			if after := pids(g.Primary); !slices.Equal(after, list) {
				t.Errorf("processes %v, want %v", after, list)
			}
		})
	}
}

// judgeWorking checks that a primary accepts, sends and receives.
func judgeWorking(t *testing.T, g *group, answers <-chan string) {
	t.Helper()
	if by := g.dialMany(20); by[1]+by[2] != 20 {
		t.Errorf("connections by worker: %v", by)
	}
	for _, w := range g.Workers() {
		if err := w.Send([]byte("hello")); err != nil {
			t.Error(err)
		}
		select {
		case s := <-answers:
			if s != "hello" {
				t.Errorf("answer %q", s)
			}
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
}

func TestExecWaitsForNobodyForLong(t *testing.T) {
	program := script(t, "exit 0", 0o700)
	t.Run("a worker that does not read", func(t *testing.T) {
		g := start(t, Config{Workers: 2, Listen: anyPort}, "serve")
		g.Setup(Settings{Exec: program})
		stopped := g.Workers()[0]
		_ = stopped.Kill(syscall.SIGSTOP)
		for range 4 {
			_ = stopped.Send(make([]byte, 1<<20))
		}
		began := time.Now()
		err := g.Exec(t.Context(), ExecOptions{Before: func() { panic("it must not come to this") }})
		if !errors.Is(err, ErrExec) || !strings.HasSuffix(err.Error(), "worker 1 does not read what was sent to it") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > quietLimit+patience {
			t.Errorf("it took %v, the limit is %v", took, quietLimit)
		}
		_ = stopped.Kill(syscall.SIGCONT)
		if by := g.dialMany(20); by[1]+by[2] != 20 {
			t.Errorf("connections by worker: %v", by)
		}
	})
	t.Run("a worker that does not take connections", func(t *testing.T) {
		g := start(t, Config{Workers: 1, Listen: anyPort}, "serve")
		g.Setup(Settings{Exec: program})
		stopped := g.Workers()[0]
		_ = stopped.Kill(syscall.SIGSTOP)
		const many = 6 * batchSize // more than may be in transit and waiting
		served := make(chan error, many)
		for range many {
			go func() { // ends when it is served
				_, err := g.dial()
				served <- err
			}()
		}
		eventually(t, "no more can wait", func() bool {
			g.s.disp.mu.Lock()
			defer g.s.disp.mu.Unlock()
			return len(g.s.disp.waiting) >= maxWaiting
		})
		ended := make(chan error, 1)
		go func() { // ends within the limit
			ended <- g.Exec(t.Context(), ExecOptions{Before: func() { panic("it must not come to this") }})
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, ErrExec) || !strings.Contains(err.Error(), "does not take the connections") {
				t.Errorf("error %v", err)
			}
		case <-time.After(quietLimit + patience):
			t.Error("it has no end")
		}
		_ = stopped.Kill(syscall.SIGCONT)
		for range many {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
}

// A primary that drains cannot replace its program.
func TestExecWhileThePrimaryDrains(t *testing.T) {
	g := start(t, Config{Workers: 2}, "stubborn")
	g.Setup(Settings{Exec: script(t, "exit 0", 0o700)})
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan int, 1)
	go func() { drained <- g.Drain(ctx) }() // ends with cancel
	eventually(t, "it drains", func() bool { return g.Workers()[0].State() == StateDraining })
	err := g.Exec(t.Context(), ExecOptions{Before: func() { panic("it must not come to this") }})
	if !errors.Is(err, ErrStopped) {
		t.Errorf("error %v, want ErrStopped", err)
	}
	cancel()
	<-drained
}
