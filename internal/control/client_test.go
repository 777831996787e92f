package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

func TestDialNobody(t *testing.T) {
	path := socket(t)
	_, err := Dial(t.Context(), path)
	wantError(t, err, path, "`expedite serve`", "--control")

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Dial(t.Context(), path)
	wantError(t, err, path, "`expedite serve`")
}

func TestStatusTravels(t *testing.T) {
	path, target := socket(t), newFake()
	target.status = example()
	start(t, path, target)
	c := dial(t, path)
	for range 2 { // the second request on a kept-alive connection
		got, err := c.Status(t.Context())
		if err != nil || !reflect.DeepEqual(got, example()) {
			t.Errorf("got %+v, %v, want %+v", got, err, example())
		}
	}
}

func TestClientTellsWhatTheServerSays(t *testing.T) {
	path, target := socket(t), newFake()
	target.err = errors.New("too busy")
	start(t, path, target)
	_, err := dial(t, path).Status(t.Context())
	wantError(t, err, path, "too busy")
	wantError(t, dial(t, path).Stop(t.Context(), StopRequest{}), path, "too busy")
}

func TestStatusThatIsNoJSON(t *testing.T) {
	path, target := socket(t), newFake()
	target.status.UptimeSeconds = math.NaN()
	start(t, path, target)
	_, err := dial(t, path).Status(t.Context())
	wantError(t, err, path, "JSON")
}

// TestStopWaits checks that Stop returns when the server has closed, not before, and that the path is free then.
func TestStopWaits(t *testing.T) {
	for _, want := range []StopRequest{{}, {Fast: true}} {
		t.Run(fmt.Sprintf("%+v", want), func(t *testing.T) {
			path, target := socket(t), newFake()
			s := start(t, path, target)
			result := make(chan error, 1)
			c := dial(t, path)
			go func() { result <- c.Stop(t.Context(), want) }()
			if got := <-target.stopped; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			// The server still answers while it is stopping.
			if _, err := dial(t, path).Status(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case err := <-result:
				t.Errorf("Stop returned (%v) while the server was still there", err)
			default:
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket: got %v, want no file", err)
			}
		})
	}
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	path, target := socket(t), newFake()
	start(t, path, target)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-target.stopped
		cancel()
	}()
	err := dial(t, path).Stop(ctx, StopRequest{})
	wantError(t, err, path)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// child serves at path and exits without closing anything when it is told to stop.
func child(path string) {
	s, err := Listen(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	target := newFake()
	go func() {
		<-target.stopped
		os.Exit(0)
	}()
	fmt.Println("ready")
	_ = s.Serve(target)
}

// TestStopOfAnotherProcess checks that Stop waits for the end of the process, and that the socket it leaves behind can
// be replaced.
func TestStopOfAnotherProcess(t *testing.T) {
	path := socket(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	_, err = Listen(path)
	wantError(t, err, "in use", pidText(cmd.Process.Pid))
	// The process may end before it answers. That is an error of the request, but the server has stopped.
	_ = dial(t, path).Stop(t.Context(), StopRequest{})
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	start(t, path, newFake())
}

func TestDefaultPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if got, want := DefaultPath(), filepath.Join(dir, "expedite.sock"); got != want {
		t.Errorf("with a runtime directory: got %q, want %q", got, want)
	}
	for _, none := range []string{"", "relative"} {
		t.Setenv("XDG_RUNTIME_DIR", none)
		want := filepath.Join(os.TempDir(), fmt.Sprintf("expedite-%d.sock", os.Getuid()))
		if got := DefaultPath(); got != want {
			t.Errorf("with the runtime directory %q: got %q, want %q", none, got, want)
		}
	}
}

// pidText returns how the error about a live server names it, where the system reports its pid.
func pidText(pid int) string {
	if runtime.GOOS == "linux" {
		return fmt.Sprintf("pid %d", pid)
	}
	return "another server"
}
