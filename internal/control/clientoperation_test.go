package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"
)

func TestClientTellsBusy(t *testing.T) {
	path, target := socket(t), newFake()
	busy := Error{Code: CodeBusy, Message: "a reload is under way (slot 2 of 4)", Slot: 2}
	target.operation = func(context.Context, any, Reporter) (Result, error) { return Result{}, &busy }
	start(t, path, target)
	_, err := dial(t, path).Scale(t.Context(), ScaleRequest{Workers: 1}, nil)
	wantError(t, err, path, busy.Message)
	if e, ok := errors.AsType[*Error](err); !ok || *e != busy {
		t.Errorf("got %#v, want %+v", err, busy)
	}
}

// TestClientErrorInTheMiddle checks that all fields of an error arrive and, after the announcement of a new primary,
// the result, too.
func TestClientErrorInTheMiddle(t *testing.T) {
	for _, announced := range []Result{{}, {Moved: 5, Workers: 2}} {
		path, target := socket(t), newFake()
		want := Error{Code: CodeExec, Message: "exec: no such file", Slot: 2, Output: "one\ntwo"}
		target.operation = func(_ context.Context, _ any, r Reporter) (Result, error) {
			r.Progress(Progress{Slot: 2})
			if announced.Workers > 0 {
				r.Replacing(1, announced)
			}
			return Result{Moved: 77}, &want
		}
		start(t, path, target)
		got, err := dial(t, path).Reload(t.Context(), ReloadRequest{}, nil)
		wantError(t, err, path, want.Message)
		if e, ok := errors.AsType[*Error](err); !ok || *e != want || !reflect.DeepEqual(got, announced) {
			t.Errorf("got %+v, %#v, want %+v, %+v", got, err, announced, want)
		}
	}
}

// TestClientLeaves checks that the error says that the operation continues, whether or not there was a line before.
func TestClientLeaves(t *testing.T) {
	for name, lines := range map[string]int{"before the first line": 0, "after it": 1} {
		t.Run(name, func(t *testing.T) {
			path, target := socket(t), newFake()
			begun, left, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			target.operation = func(ctx context.Context, _ any, r Reporter) (Result, error) {
				for range lines {
					r.Progress(Progress{Slot: 1})
				}
				close(begun)
				<-left
				ended <- ctx.Err()
				return Result{}, nil
			}
			start(t, path, target)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			_, err := dial(t, path).Reload(ctx, ReloadRequest{}, nil)
			close(left)
			wantError(t, err, path, "reload", "goes on", "`expedite status`")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the operation's context: got %v, want it to go on", err)
			}
		})
	}
}

// puppet answers one request with the given text and closes the connection.
func puppet(t *testing.T, path, answer string) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		defer listener.Close() // before the connection ends: later connects fail
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(conn, answer)
	})
	t.Cleanup(wg.Wait)
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"

// TestServerEndsInTheMiddle checks that a primary that disappears is an error that says what to do.
func TestServerEndsInTheMiddle(t *testing.T) {
	middle := []string{"ended in the middle", "`expedite status`"}
	for _, tt := range []struct {
		name, answer string
		want         []string
	}{
		{"before it answers", "", middle},
		{"before the first line", streamHead, middle},
		{"between lines", streamHead + `{"progress":{"slot":1}}` + "\n", middle},
		{"within a line", streamHead + `{"result":{"mov`, middle},
		{"with a line of a later version", streamHead + `{"news":1}` + "\n", middle},
		{"for a primary that never comes", streamHead + `{"replacing":{"generation":1}}` + "\n", []string{"no new primary"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			puppet(t, path, tt.answer)
			c := dial(t, path)
			c.patience.old = time.Millisecond
			_, err := c.Reload(t.Context(), ReloadRequest{}, nil)
			wantError(t, err, append(tt.want, path)...)
		})
	}
}

// doomed is a fake server of one generation. A reload ends it as exec(2) would: its connections are closed, and the
// listening socket stays open in f for the next generation.
func doomed(t *testing.T, path string, generation int) (f *os.File) {
	t.Helper()
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err = s.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	target := newFake()
	target.status.Generation = generation
	target.operation = func(_ context.Context, _ any, r Reporter) (Result, error) {
		r.Progress(Progress{Step: StepReplacing})
		r.Replacing(generation, Result{Moved: 5, Workers: 2, Version: "v1"})
		return Result{}, errors.Join(s.http.Close(), errPlain)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(target) }) // an error, because it was interrupted
	t.Cleanup(wg.Wait)
	return f
}

// TestPrimaryReplaced checks that the client waits for the primary that replaces the server by exec(2).
func TestPrimaryReplaced(t *testing.T) {
	path := socket(t)
	f := doomed(t, path, 3)
	c := dial(t, path)
	type outcome struct {
		result Result
		err    error
	}
	done, replacing := make(chan outcome, 1), make(chan struct{})
	go func() {
		result, err := c.Reload(t.Context(), ReloadRequest{}, func(p Progress) {
			if p.Step == StepReplacing {
				close(replacing)
			}
		})
		done <- outcome{result, err}
	}()
	<-replacing
	next, err := Inherit(path, f)
	if err != nil {
		t.Fatal(err)
	}
	target := newFake()
	target.status.Generation, target.status.Version = 4, "v2"
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := next.Serve(target); err != nil {
			t.Error(err)
		}
	})
	want := Result{Moved: 5, Workers: 2, PrimaryReplaced: true, Version: "v2"}
	if got := <-done; got.err != nil || !reflect.DeepEqual(got.result, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close of the heir: got %v, want no file", err)
	}
}

// TestPrimaryNotReplaced checks the errors for a primary that stays as it is, for one that never answers, and for a
// client that stops waiting.
func TestPrimaryNotReplaced(t *testing.T) {
	for _, tt := range []struct {
		name     string
		serve    bool // with the old generation
		patience patience
		timeout  time.Duration
		want     []string
	}{
		{"it stays", true, patience{30 * time.Millisecond, time.Hour}, time.Hour, []string{"still generation 3", "log"}},
		{"it is silent", false, patience{time.Hour, 30 * time.Millisecond}, time.Hour, []string{"no new primary"}},
		{"the client leaves", false, patience{time.Hour, time.Hour}, 3 * time.Second, []string{"deadline"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			next, err := Inherit(path, doomed(t, path, 3))
			if err != nil {
				t.Fatal(err)
			}
			target := newFake()
			target.status.Generation = 3
			var wg sync.WaitGroup
			defer wg.Wait()
			defer next.Close()
			c := dial(t, path)
			c.patience = tt.patience
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			got, err := c.Reload(ctx, ReloadRequest{}, func(Progress) {
				if tt.serve {
					wg.Go(func() { _ = next.Serve(target) })
				}
			})
			wantError(t, err, append(tt.want, path)...)
			if got.Moved != 5 || got.PrimaryReplaced {
				t.Errorf("got %+v, want what was done", got)
			}
		})
	}
}
