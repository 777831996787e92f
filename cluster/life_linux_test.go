package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStartFailsWhole(t *testing.T) {
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name, play, want string
		cfg              Config
	}{
		{
			"a worker that fails is named, with its last words", "serve fail",
			"cluster: worker 2 did not start: exit status 3: cannot open the thing",
			Config{Workers: 2},
		},
		{
			"a worker that is not ready in time is named", "stuck",
			"cluster: worker 1 did not start: not ready within 300ms",
			Config{Workers: 1, StartTimeout: 300 * time.Millisecond},
		},
		{
			"a program that is not there", "serve",
			"cluster: worker 1 did not start: fork/exec /nowhere/at-all: no such file or directory",
			Config{Workers: 1, Exec: "/nowhere/at-all"},
		},
		{
			"a port that is taken", "serve",
			"cluster: listen tcp " + taken.Addr().String() + ": bind: address already in use",
			Config{Workers: 1, Listen: taken.Addr().String()},
		},
		{
			"a port that is taken, with sockets that share it", "serve",
			"cluster: listen tcp " + taken.Addr().String() + ": bind: address already in use",
			Config{Workers: 2, Listen: taken.Addr().String(), Scheduling: None},
		},
		{"workers below zero", "serve", "cluster: -1 workers: want 1 to 1000", Config{Workers: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := openFDs(t, os.Getpid())
			_, err := tryStart(t, tt.cfg, tt.play)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			var se *StartError
			if errors.As(err, &se) && tt.play == "serve fail" && !strings.Contains(se.Stderr, "first line") {
				t.Errorf("standard error %q, want all lines", se.Stderr)
			}
			if after := openFDs(t, os.Getpid()); after > before {
				t.Errorf("%d descriptors are open, %d were", after, before)
			}
		})
	}
}

func TestCrashLoopOpensTheBreaker(t *testing.T) {
	g := start(t, Config{
		Workers: 2, Restart: Restart{Delay: time.Millisecond, MaxCrashes: 3, Window: time.Hour, Rest: 10 * time.Millisecond},
	}, "crash serve")
	_ = g.Workers()[0].Kill(9)
	e := g.await(EventDead, 1)
	var se *StartError
	if e.Worker.Generation() != 4 || !errors.As(e.Err, &se) {
		t.Errorf("dead at generation %d (%v), want 4", e.Worker.Generation(), e.Err)
	}
	if e := g.await(EventFork, 1); e.Worker.Generation() != 5 {
		t.Errorf("tried again with generation %d, want 5", e.Worker.Generation())
	}
	if w := g.Workers()[1]; w.State() != StateReady || w.Generation() != 1 {
		t.Errorf("the other worker is %v, generation %d", w.State(), w.Generation())
	}
}

func TestMessagesKeepTheirOrder(t *testing.T) {
	got := make(chan []byte, 3000)
	g := start(t, Config{Workers: 1, OnMessage: func(_ *Worker, m []byte) { got <- bytes.Clone(m) }}, "serve")
	var want [][]byte
	for i := range 2000 {
		n := i % 50
		if i%400 == 7 {
			n = 1 << 20
		}
		want = append(want, bytes.Repeat([]byte{byte(i)}, n))
	}
	for _, m := range want {
		if err := g.Workers()[0].Send(m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		select {
		case m := <-got:
			if !bytes.Equal(m, want[i]) {
				t.Fatalf("message %d has %d bytes, want %d of another kind", i, len(m), len(want[i]))
			}
		case <-time.After(patience):
			t.Fatalf("message %d did not come back", i)
		}
	}
	if err := g.Workers()[0].Send(make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a message that is too long: %v, want ErrTooLong", err)
	}
}

func TestSlowWorkerHoldsUpNobody(t *testing.T) {
	got := make(chan int, 1000)
	g := start(t, Config{
		Workers: 2, QueueLimit: 400 << 10, OnMessage: func(w *Worker, m []byte) { got <- int(m[0]) },
	}, "deaf serve")
	deaf := g.Workers()[0]
	m := make([]byte, 64<<10)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = deaf.Send(m)
	}
	if !errors.Is(err, ErrOverloaded) || deaf.Overloads() != 1 {
		t.Fatalf("error %v, %d overloads, want ErrOverloaded, 1", err, deaf.Overloads())
	}
	for i := range 50 {
		m[0] = byte(i)
		g.Broadcast(m)
		select {
		case v := <-got:
			if v != i {
				t.Fatalf("message %d, want %d", v, i)
			}
		case <-time.After(patience):
			t.Fatal("the other worker gets nothing")
		}
	}
	// The socket's buffer has taken some of what the queue had refused before.
	all, other := g.Stats().Overloads, g.Workers()[1].Overloads()
	if all < 2 || all != deaf.Overloads() || other != 0 {
		t.Errorf("%d overloads, %d of the deaf worker, %d of the other; want all of the deaf one", all, deaf.Overloads(), other)
	}
}

func TestDrain(t *testing.T) {
	tests := []struct {
		name, play string
		killed     int
	}{
		{"workers that end are not killed", "serve", 0},
		{"those that do not end are killed at the deadline", "serve stubborn", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, Config{Workers: 2, Listen: anyPort}, tt.play)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			killed := make(chan int, 1)
			go func() { killed <- g.Drain(ctx) }() // ends with the workers
			if e := g.await(EventExit, 1); !e.Wanted || e.Err != nil {
				t.Errorf("exit %+v, want a wanted one with code 0", e)
			}
			if tt.killed > 0 { // the deadline has passed, however long worker 1 has taken
				cancel()
			}
			if n := <-killed; n != tt.killed {
				t.Errorf("%d killed, want %d", n, tt.killed)
			}
			<-g.Done()
			if c, err := net.Dial("tcp", g.Addr().String()); err == nil {
				_ = c.Close()
				t.Error("the port is still open")
			}
			if err := g.Workers()[0].Send(nil); !errors.Is(err, ErrDisconnected) {
				t.Errorf("Send: %v, want ErrDisconnected", err)
			}
		})
	}
}

func TestWorkerThatLeavesIsReplaced(t *testing.T) {
	role := make(chan string, 1)
	g := start(t, Config{Workers: 1, OnReport: func(_ *Worker, r []byte) { role <- string(r) }}, "leave")
	if err := g.Workers()[0].Send([]byte("go")); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, role); r != "" {
		t.Errorf("the role %q is still in the worker's environment", r)
	}
	var kinds []EventKind
	for {
		e := wait(t, g.events)
		kinds = append(kinds, e.Kind)
		if e.Kind == EventReady && e.Worker.Generation() == 2 {
			break
		}
	}
	want := []EventKind{
		EventFork, EventOnline, EventReady, EventDisconnect, EventExit, EventFork, EventOnline, EventReady,
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

func TestWorkersNoticeTheDeathOfTheirPrimary(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), primaryEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = out.Close() })
	defer watchdog.Stop()
	var lines []string
	for sc := bufio.NewScanner(out); sc.Scan(); { // until the workers have exited, too
		lines = append(lines, sc.Text())
		if sc.Text() == "started" {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // it was killed
	slices.Sort(lines)
	if want := []string{"lost 1", "lost 2", "started"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
}
