package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// fakeServer answers on a control socket as the test says.
type fakeServer struct {
	control.Target // nil: only the methods below are called
	operation      func(ctx context.Context, req any, r control.Reporter) (control.Result, error)
}

func (*fakeServer) Status(context.Context) (control.Status, error) {
	return control.Status{Generation: 1}, nil
}

func (*fakeServer) Stop(context.Context, control.StopRequest) error { return nil }

func (f *fakeServer) Reload(
	ctx context.Context, req control.ReloadRequest, r control.Reporter,
) (control.Result, error) {
	return f.operation(ctx, req, r)
}

func (f *fakeServer) Scale(
	ctx context.Context, req control.ScaleRequest, r control.Reporter,
) (control.Result, error) {
	return f.operation(ctx, req, r)
}

func (f *fakeServer) Nodes(context.Context) (control.NodeList, error) {
	return control.NodeList{}, nil
}

func (f *fakeServer) Rebalance(ctx context.Context, r control.Reporter) (control.Result, error) {
	return f.operation(ctx, nil, r)
}

// start serves until the test ends and returns the socket.
func (f *fakeServer) start(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "op") // t.TempDir is too long for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	s, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(f); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return path
}

var _ control.Target = (*fakeServer)(nil)

func TestOperationCommands(t *testing.T) {
	fine := control.Result{Moved: 18_000, Seconds: 1.234, Workers: 4, PrimaryReplaced: true, Version: "v2"}
	lossy := control.Result{Moved: 1, Drained: 1200, Failed: 3, Seconds: 0.0123, Workers: 1}
	busy := &control.Error{Code: control.CodeBusy, Message: "a reload is under way (slot 2 of 4): wait for it"}
	broken := &control.Error{Code: control.CodeStart, Message: "worker 2 does not start", Slot: 2, Output: "one\npanic: two\n"}
	const fineLine = "18,000 connections moved in 1.23s, 0 drained, 0 failed; primary replaced; version v2\n"
	for _, tt := range []struct {
		name   string
		args   []string
		result control.Result
		err    error
		code   int
		req    any
		stdout string
		stderr []string // texts; nil: no output
	}{
		{
			"reload",
			[]string{"reload"},
			fine, nil, 0,
			control.ReloadRequest{CanarySeconds: 1},
			"reloaded 4 workers: " + fineLine, nil,
		},
		{
			"reload with flags",
			[]string{"reload", "--canary", "1500ms", "--keep-primary"},
			fine, nil, 0,
			control.ReloadRequest{CanarySeconds: 1.5, KeepPrimary: true},
			"reloaded 4 workers: " + fineLine, nil,
		},
		{"scale", []string{"scale", "4"}, fine, nil, 0, control.ScaleRequest{Workers: 4}, "scaled to 4 workers: " + fineLine, nil},
		{"rebalance", []string{"rebalance"}, fine, nil, 0, nil, "rebalanced 4 workers: " + fineLine, nil},
		{
			"some were lost",
			[]string{"rebalance"},
			lossy, nil, 1, nil,
			"rebalanced 1 worker: 1 connection moved in 12.3ms, 1,200 drained, 3 failed\n",
			[]string{"not all connections moved", "1,200 drained", "3 failed"},
		},
		{
			"busy",
			[]string{"scale", "1"},
			control.Result{},
			busy, 1,
			control.ScaleRequest{Workers: 1},
			"",
			[]string{busy.Message + "\n"},
		},
		{
			"a worker that does not start",
			[]string{"rebalance"},
			control.Result{},
			broken, 1, nil,
			"",
			[]string{"worker 2 does not start\n  one\n  panic: two\n"},
		},
		{
			"a request that only the server refuses",
			[]string{"rebalance"},
			control.Result{},
			&control.Error{Code: control.CodeBadRequest, Message: "no"}, 2, nil, "",
			[]string{"no"},
		},
		{
			"JSON",
			[]string{"rebalance", "--json"},
			lossy, nil, 1, nil,
			`{"moved":1,"drained":1200,"failed":3,"seconds":0.0123,"move_seconds":0,"freeze_seconds":0,"state_bytes":0,"workers":1,"primary_replaced":false}`,
			[]string{"not all connections moved"},
		},
		{
			"JSON of an error",
			[]string{"rebalance", "--json"},
			control.Result{},
			broken, 1, nil,
			`{"error":{"type":"server_error","code":"start","message":"worker 2 does not start","slot":2,"output":"one\npanic: two\n"}}`,
			[]string{"  panic: two\n"},
		},
		{
			"JSON of a server that knows no such thing",
			[]string{"rebalance", "--json"},
			control.Result{},
			control.ErrUnsupported, 1, nil,
			`{"error":{"type":"unsupported","code":"unsupported","message":"this server cannot reload, scale or rebalance"}}`,
			[]string{"cannot reload"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := &fakeServer{operation: func(_ context.Context, req any, _ control.Reporter) (control.Result, error) {
				if req != tt.req {
					t.Errorf("request: got %+v, want %+v", req, tt.req)
				}
				return tt.result, tt.err
			}}
			var stdout, stderr bytes.Buffer
			code := run(append(tt.args, "--control", server.start(t)), &stdout, &stderr)
			wantOutput(t, code, tt.code, &stderr, tt.stderr)
			got := stdout.String()
			if strings.HasPrefix(tt.stdout, "{") {
				got = compact(t, stdout.Bytes())
			}
			if got != tt.stdout {
				t.Errorf("stdout: got %q, want %q", got, tt.stdout)
			}
		})
	}
}

// wantOutput compares the exit code and searches stderr for texts.
func wantOutput(t *testing.T, code, wantCode int, stderr *bytes.Buffer, parts []string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code: got %d, want %d", code, wantCode)
	}
	if len(parts) == 0 && stderr.Len() > 0 {
		t.Errorf("stderr: got %q, want nothing", stderr)
	}
	for _, want := range parts {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr: got %q, want it to say %q", stderr, want)
		}
	}
}

func compact(t *testing.T, b []byte) string {
	t.Helper()
	var c bytes.Buffer
	if err := json.Compact(&c, b); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return strings.TrimSpace(c.String())
}

// TestOperationExecFails checks that the command reports that the workers were replaced nevertheless.
func TestOperationExecFails(t *testing.T) {
	server := &fakeServer{operation: func(_ context.Context, _ any, r control.Reporter) (control.Result, error) {
		r.Replacing(1, control.Result{Moved: 5, Workers: 2})
		return control.Result{}, &control.Error{Code: control.CodeExec, Message: "no such binary"}
	}}
	path := server.start(t)
	var stdout, stderr bytes.Buffer
	code := run([]string{"reload", "--control", path}, &stdout, &stderr)
	wantOutput(t, code, 1, &stderr, []string{"no such binary"})
	if !strings.HasPrefix(stdout.String(), "reloaded 2 workers: 5 connections moved") {
		t.Errorf("stdout: got %q", stdout.String())
	}
	stdout.Reset()
	run([]string{"reload", "--json", "--control", path}, &stdout, &stderr)
	if got := compact(t, stdout.Bytes()); !strings.Contains(got, `"code":"exec"`) || !strings.Contains(got, `"result":{"moved":5,`) {
		t.Errorf("JSON: got %s, want the error and the result", got)
	}
}

// TestOperationWatchPlain checks that there is a line per step elsewhere than on a terminal, and that --json keeps them
// out of the JSON.
func TestOperationWatchPlain(t *testing.T) {
	server := &fakeServer{operation: func(_ context.Context, _ any, r control.Reporter) (control.Result, error) {
		r.Progress(control.Progress{Slot: 1, Slots: 2, Step: control.StepStarting})
		r.Progress(control.Progress{Slot: 1, Slots: 2, Step: control.StepMoving, Moved: 812, Left: 1200, Total: 2012, RatePerSecond: 18000.4})
		r.Progress(control.Progress{Slot: 1, Slots: 2, Step: control.StepDone, Moved: 2012, Total: 2012})
		r.Progress(control.Progress{Step: control.StepReplacing, Message: "v1\nto v2"})
		return control.Result{Workers: 2, Moved: 2012}, nil
	}}
	path := server.start(t)
	const lines = "slot 1/2 starting\nslot 1/2 moving: 812 moved, 1,200 left, 18,000/s\n" +
		"slot 1/2 done: 2,012 moved, 0 left\nreplacing-primary: v1 to v2\n"
	var stdout, stderr bytes.Buffer
	code := run([]string{"reload", "--watch", "--control", path}, &stdout, &stderr)
	wantOutput(t, code, 0, &stderr, nil)
	if got, want := stdout.String(), lines+"reloaded 2 workers: 2,012 connections moved in 0s, 0 drained, 0 failed\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	stdout.Reset()
	if code := run([]string{"reload", "--watch", "--json", "--control", path}, &stdout, &stderr); code != 0 || stderr.String() != lines {
		t.Errorf("with --json: got code %d, stderr %q, want %q", code, stderr.String(), lines)
	}
	var result control.Result
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil || result.Moved != 2012 {
		t.Errorf("with --json: got %q, %v", stdout.String(), err)
	}
}

// TestOperationWrongUse checks that invalid flags have their exit code, and that nothing is requested.
func TestOperationWrongUse(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "nobody")
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"scale"}, 2, []string{"<workers>", "expedite scale --help"}},
		{[]string{"scale", "0"}, 2, []string{`"0"`, "from 1 to 1000"}},
		{[]string{"scale", "abc"}, 2, []string{`"abc"`, "from 1 to 1000"}},
		{[]string{"scale", "2.5"}, 2, []string{`"2.5"`}},
		{[]string{"scale", "1001"}, 2, []string{`"1001"`}},
		{[]string{"scale", "-1"}, 2, []string{"-1"}},
		{[]string{"scale", "1", "2"}, 2, []string{"2"}},
		{[]string{"reload", "--canary=-1s"}, 2, []string{"--canary", "-1s"}},
		{[]string{"reload", "--canary", "2h"}, 2, []string{"--canary", "2h"}},
		{[]string{"reload", "--canary", "long"}, 2, []string{"--canary", "long"}},
		{[]string{"rebalance", "--timeout", "0"}, 2, []string{"--timeout"}},
		{[]string{"rebalance", "now"}, 2, []string{"now"}},
		{[]string{"reload"}, 1, []string{nobody, "expedite serve"}},
		{[]string{"reload", "--json"}, 1, []string{nobody, "expedite serve"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(append(tt.args, "--control", nobody), &stdout, &stderr)
			wantOutput(t, code, tt.code, &stderr, tt.want)
		})
	}
}

// TestOperationInterrupted checks that an interrupt or the time limit ends the command, but not the reload.
func TestOperationInterrupted(t *testing.T) {
	for name, args := range map[string][]string{"INT": nil, "timeout": {"--timeout", "5s"}} {
		t.Run(name, func(t *testing.T) {
			begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			server := &fakeServer{operation: func(ctx context.Context, _ any, r control.Reporter) (control.Result, error) {
				r.Progress(control.Progress{Slot: 1, Step: control.StepMoving})
				close(begun)
				<-goOn
				ended <- ctx.Err()
				return control.Result{}, nil
			}}
			cmd := command(t, append([]string{"reload", "--json", "--control", server.start(t)}, args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-begun:
			case <-time.After(patience):
				t.Fatal("the server was not asked")
			}
			if args == nil {
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Error(err)
				}
			}
			if _, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok {
				t.Error("got no exit code, want one")
			}
			close(goOn)
			wantOutput(t, cmd.ProcessState.ExitCode(), 1, &stderr, []string{"reload", "goes on", "expedite status"})
			if got := compact(t, stdout.Bytes()); !strings.Contains(got, `"code":"interrupted"`) {
				t.Errorf("stdout: got %s, want the code interrupted", got)
			}
			if err := <-ended; err != nil {
				t.Errorf("the reload's context: got %v, want it to go on", err)
			}
		})
	}
}
