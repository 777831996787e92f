package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/expedite-go/expedite/internal/control"
)

// operated is a control server without an Expedite behind it. It knows one user, and records the requests.
type operated struct {
	control.Target // nil: only the methods below are called
	asked          chan any
	lines          []string // of the log
	follow         chan string
}

// errStranger is the error for all other users.
var errStranger = &control.Error{Code: control.CodeNotFound, Message: "nobody of that name"}

func (o *operated) Sessions(_ context.Context, req control.SessionsRequest) (control.SessionList, error) {
	o.asked <- req
	return control.SessionList{Store: "memory", Sessions: []control.Session{{ID: "s1", User: req.User, Created: time.Now(), Seen: time.Now()}}}, nil
}

func (o *operated) Kick(_ context.Context, req control.KickRequest) (control.KickResult, error) {
	o.asked <- req
	if req.User != "alice" {
		return control.KickResult{}, errStranger
	}
	return control.KickResult{Closed: 1234}, nil
}

func (o *operated) Revoke(_ context.Context, req control.RevokeRequest) (control.RevokeResult, error) {
	o.asked <- req
	return control.RevokeResult{Closed: 1, Until: time.Unix(1_800_000_000, 0), Warning: "other machines do not know"}, nil
}

func (o *operated) Logs(ctx context.Context, req control.LogsRequest, write func([]byte) error) error {
	o.asked <- req
	for _, line := range o.lines {
		if err := write([]byte(line)); err != nil {
			return err
		}
	}
	for req.Follow {
		select {
		case line := <-o.follow:
			if err := write([]byte(line)); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (o *operated) Publish(_ context.Context, req control.PublishRequest) error {
	o.asked <- req
	return nil
}

func (o *operated) ReopenLogs(context.Context) error { return nil }

var _ control.Target = (*operated)(nil)

// serveOperated serves o on a socket until the test ends.
func serveOperated(t *testing.T, o *operated) (socket string, server *control.Server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o.asked, o.follow = make(chan any, 10), make(chan string)
	socket = filepath.Join(dir, "s")
	server, err = control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(o); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return socket, server
}

// runOperator runs a command like main does.
func runOperator(args ...string) (stdout, stderr string, err error) {
	var c struct {
		Logs     logsCmd     `cmd:""`
		Sessions sessionsCmd `cmd:""`
		Kick     kickCmd     `cmd:""`
		Revoke   revokeCmd   `cmd:""`
		Publish  publishCmd  `cmd:""`
	}
	var out, errs bytes.Buffer
	parser, err := kong.New(&c, kong.Name("expedite"), kong.DefaultEnvars("EXPEDITE"), kong.Vars{"control": "socket"}, kong.Writers(&out, &errs),
		kong.BindTo(&out, (*io.Writer)(nil)), kong.Bind(&Console{&out, &errs, program("expedite")}))
	if err != nil {
		return "", "", err
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return "", "", err
	}
	err = ctx.Run()
	return out.String(), errs.String(), err
}

// TestOperatorCommands checks what each command requests, and what it prints.
func TestOperatorCommands(t *testing.T) {
	t.Setenv("EXPEDITE_USER", "somebody else") // not a flag of these commands
	t.Setenv("EXPEDITE_SESSION", "s9")
	until := time.Unix(1_800_000_000, 0).Local().Format(time.RFC3339)
	for _, tt := range []struct {
		name string
		args []string
		want any
		out  []string // expected in the output
		err  []string
	}{
		{"sessions", []string{"sessions"}, control.SessionsRequest{Limit: 1000}, []string{"USER", "s1", "0s"}, nil},
		{"sessions of a user", []string{"sessions", "--user", "alice", "--limit", "3"}, control.SessionsRequest{User: "alice", Limit: 3}, []string{"alice"}, nil},
		{"sessions in JSON", []string{"sessions", "--json"}, control.SessionsRequest{Limit: 1000}, []string{`"store": "memory"`, `"params": {}`}, nil},
		{"kick", []string{"kick", "--user", "alice", "--reason", "bye"}, control.KickRequest{User: "alice", Reason: "bye"}, []string{"closed 1,234 connections on this machine\n"}, nil},
		{"kick in JSON", []string{"kick", "--user=alice", "--json"}, control.KickRequest{User: "alice"}, []string{`"closed": 1234`}, nil},
		{"revoke", []string{"revoke", "--user", "bob", "--for", "24h"}, control.RevokeRequest{User: "bob", Seconds: 86400}, []string{"closed 1 connection on this machine; refused until " + until + "\n"}, []string{"warning: other machines do not know\n"}},
		{"revoke a token", []string{"revoke", "--token-id", "t1"}, control.RevokeRequest{TokenID: "t1"}, []string{"refused"}, []string{"warning"}},
		{"revoke for a fraction", []string{"revoke", "--session", "s", "--for", "1500ms", "--json"}, control.RevokeRequest{Session: "s", Seconds: 2}, []string{`"stored": false`, `"warning": "other`}, []string{"warning"}},
		{"publish", []string{"publish", "lobby", "hello  world"}, control.PublishRequest{Topic: "lobby", Text: "hello  world"}, nil, nil},
		{"publish what looks like a flag", []string{"publish", "lobby", "--", "--text"}, control.PublishRequest{Topic: "lobby", Text: "--text"}, nil, nil},
		{"logs", []string{"logs"}, control.LogsRequest{Recent: true}, []string{"{\"msg\":\"one\"}\n{\"msg\":\"two\"}\n"}, nil},
		{
			"logs of somebody",
			[]string{"logs", "--user", "a", "--session", "s", "--conn", "c", "--worker", "3", "--level", "warn", "--json"},
			control.LogsRequest{User: "a", Session: "s", Conn: "c", Worker: 3, Level: "warn", Recent: true},
			[]string{"one"},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &operated{lines: []string{`{"msg":"one"}`, `{"msg":"two"}`}}
			socket, _ := serveOperated(t, o)
			out, errs, err := runOperator(append([]string{tt.args[0], "--control", socket}, tt.args[1:]...)...)
			if failed := err != nil; failed != (len(tt.err) > 0) {
				t.Fatal(err)
			} else if failed { // like main does
				errs += err.Error() + "\n"
			}
			if asked := <-o.asked; asked != tt.want {
				t.Errorf("the server was asked %+v, want %+v", asked, tt.want)
			}
			for _, check := range []struct {
				got  string
				want []string
			}{{out, tt.out}, {errs, tt.err}} {
				if len(check.want) == 0 && check.got != "" {
					t.Errorf("got %q, want nothing", check.got)
				}
				for _, want := range check.want {
					if !strings.Contains(check.got, want) {
						t.Errorf("got %q, want it to say %q", check.got, want)
					}
				}
			}
		})
	}
}

// TestOperatorCommandsRefuse checks the exit code of each error.
func TestOperatorCommandsRefuse(t *testing.T) {
	o := &operated{}
	socket, _ := serveOperated(t, o)
	nobody := filepath.Join(filepath.Dir(socket), "nobody")
	for _, tt := range []struct {
		name string
		args []string
		code int // exitUsage or exitFailed
		want []string
	}{
		{"kick nobody", []string{"kick"}, exitUsage, []string{"--user", "--session", "--conn"}},
		{"kick two", []string{"kick", "--user", "a", "--conn", "b"}, exitUsage, []string{"--user and --conn"}},
		{"kick a stranger", []string{"kick", "--control", socket, "--user", "eve"}, exitFailed, []string{"nobody of that name"}},
		{"kick with a long reason", []string{"kick", "--control", socket, "--user", "a", "--reason", strings.Repeat("x", 124)}, exitUsage, []string{"at most 123"}},
		{"revoke nobody", []string{"revoke", "--for", "1h"}, exitUsage, []string{"--token-id"}},
		{"revoke for no time", []string{"revoke", "--user", "a", "--for=-1h"}, exitUsage, []string{"--for -1h0m0s", "want 1s to"}},
		{"revoke for ever", []string{"revoke", "--control", socket, "--user", "a", "--for", "1000000h"}, exitUsage, []string{"want 1s to"}},
		{"publish nothing", []string{"publish", "lobby"}, exitUsage, []string{"<text>"}},
		{"sessions without end", []string{"sessions", "--control", socket, "--limit", "9999999"}, exitUsage, []string{"limit", "1 to 1000000"}},
		{"logs of a level", []string{"logs", "--control", socket, "--level", "loud"}, exitUsage, []string{`"loud"`, "debug, info, warn or error"}},
		{"logs of a worker", []string{"logs", "--worker=-1"}, exitUsage, []string{"--worker -1"}},
		{"logs of nobody", []string{"logs", "--control", nobody}, exitFailed, []string{"nobody", "expedite serve"}},
		{"sessions of nobody", []string{"sessions", "--control", nobody}, exitFailed, []string{"nobody", "expedite serve"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := runOperator(tt.args...)
			if err == nil {
				t.Fatal("got no error, want one")
			}
			code := exitCode(err)
			if _, ok := errors.AsType[*kong.ParseError](err); ok { // like run does
				code = exitUsage
			}
			if code != tt.code {
				t.Errorf("got the code %d (%v), want %d", code, err, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to say %q", err, want)
				}
			}
		})
	}
}

// TestPublishStandardInput checks that the last newline is removed and that the length is limited.
func TestPublishStandardInput(t *testing.T) {
	o := &operated{}
	socket, _ := serveOperated(t, o)
	p := publishCmd{Control: socket, Topic: "lobby", Text: "-"}
	for in, want := range map[string]string{"a\n": "a", "a\nb\n\n": "a\nb\n", "": "", strings.Repeat("x", maxInput) + "\n": strings.Repeat("x", maxInput)} {
		if err := p.publish(strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		if got := (<-o.asked).(control.PublishRequest).Text; got != want {
			t.Errorf("%.20q: got %.20q of %d bytes, want %.20q", in, got, len(got), want)
		}
	}
	if err := p.publish(strings.NewReader(strings.Repeat("x", maxInput+1))); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("too much: got %v, want an error", err)
	}
	if err := p.publish(strings.NewReader("\xff")); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("no text: got %v, want an error", err)
	}
}

// TestLogsFollow checks that lines are printed until an interrupt, which is not an error, or until the server ends,
// which is one.
func TestLogsFollow(t *testing.T) {
	for name, interrupt := range map[string]bool{"interrupted": true, "server gone": false} {
		t.Run(name, func(t *testing.T) {
			o := &operated{lines: []string{`{"msg":"recent"}`}}
			socket, server := serveOperated(t, o)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out syncBuffer
			done := make(chan error, 1)
			l := logsCmd{Control: socket, Follow: true}
			go func() { done <- l.read(ctx, &out) }()
			o.follow <- `{"msg":"live"}`
			o.follow <- `{"lost":3}`
			deadline := time.After(patience)
			for tick := time.NewTicker(10 * time.Millisecond); out.String() != "{\"msg\":\"recent\"}\n{\"msg\":\"live\"}\n{\"lost\":3}\n"; {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("got %q", out.String())
				}
			}
			if interrupt {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), "has ended") || exitCode(err) != exitFailed {
				t.Errorf("got %v, want one that says that the server has ended", err)
			}
		})
	}
}

// TestLogsInterruptedBeforeTheServerAnswers checks that an early interrupt is not an error either.
func TestLogsInterruptedBeforeTheServerAnswers(t *testing.T) {
	socket, _ := serveOperated(t, &operated{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&logsCmd{Control: socket, Follow: true}).read(ctx, &bytes.Buffer{}); err != nil {
		t.Errorf("got %v, want none", err)
	}
}
