package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

var errPlain = errors.New("no idea")

// post sends a request like a program other than our client.
func post(t *testing.T, socket, path, body string) (status int, contentType, answer string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// TestOperationWire checks the lines, which are a contract with users' scripts.
func TestOperationWire(t *testing.T) {
	path, target := socket(t), newFake()
	target.operation = func(_ context.Context, _ any, r Reporter) (Result, error) {
		r.Progress(Progress{Slot: 2, Step: StepMoving, Generation: 3, Moved: 4, Left: 5, Total: 9, RatePerSecond: 1.5, SlotsDone: 1, Slots: 4})
		r.Replacing(7, Result{Moved: 4})
		return Result{}, &Error{Code: CodeExec, Message: "no such file", Slot: 2, Output: "panic"}
	}
	start(t, path, target)
	status, contentType, got := post(t, path, "/reload", "")
	want := `{"progress":{"slot":2,"step":"moving","generation":3,"moved":4,"left":5,"total":9,"rate_per_second":1.5,` +
		`"slots_done":1,"slots":4}}
{"replacing":{"generation":7,"result":{"moved":4,"drained":0,"failed":0,"seconds":0,"move_seconds":0,"freeze_seconds":0,"state_bytes":0,"workers":0,"primary_replaced":false}}}
{"error":{"type":"server_error","code":"exec","message":"no such file","slot":2,"output":"panic"}}
`
	if status != 200 || contentType != "application/x-ndjson" || got != want {
		t.Errorf("got %d %s\n%s\nwant\n%s", status, contentType, got, want)
	}
}

// TestOperationRefusals checks that errors before the first line are HTTP errors.
func TestOperationRefusals(t *testing.T) {
	path, target := socket(t), newFake()
	start(t, path, target)
	busy := &Error{Code: CodeBusy, Message: "a reload is under way"}
	for _, tt := range []struct {
		name, path, body string
		err              error
		status           int
		want             string
	}{
		{"busy", "/rebalance", "", fmt.Errorf("x: %w", busy), 409, `"type":"conflict","code":"busy","message":"a reload is under way"`},
		{"unsupported", "/reload", "{}", ErrUnsupported, 501, `"type":"unsupported","code":"unsupported","message":"this server cannot`},
		{"any error", "/reload", "{}", errPlain, 503, `"type":"unavailable","code":"unavailable","message":"no idea"`},
		{"another code", "/reload", "{}", &Error{Code: CodeStart, Output: "a\nb"}, 500, `"code":"start","message":"","output":"a\nb"`},
		{"scale to nothing", "/scale", "", nil, 400, `"type":"invalid_request","code":"bad_request","message":"0 workers: want 1 to 1000"`},
		{"scale to 0", "/scale", `{"workers":0}`, nil, 400, `"bad_request"`},
		{"scale below 0", "/scale", `{"workers":-1}`, nil, 400, `"bad_request"`},
		{"scale to too many", "/scale", `{"workers":1001}`, nil, 400, `"bad_request"`},
		{"scale to no number", "/scale", `{"workers":"two"}`, nil, 400, `"bad_request"`},
		{"canary below 0", "/reload", `{"canary_seconds":-1}`, nil, 400, `"bad_request"`},
		{"canary without end", "/reload", `{"canary_seconds":1e9}`, nil, 400, `"bad_request"`},
		{"no JSON", "/rebalance", "now", nil, 400, `"bad_request"`},
		{"too much", "/reload", strings.Repeat(" ", maxRequest+1), nil, 400, `"bad_request"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target.operation = func(context.Context, any, Reporter) (Result, error) {
				if tt.err == nil {
					t.Error("the target was asked")
				}
				return Result{}, tt.err
			}
			status, contentType, got := post(t, path, tt.path, tt.body)
			if status != tt.status || contentType != "application/json" || !strings.Contains(got, tt.want) {
				t.Errorf("got %d %s %s, want %d and %s", status, contentType, got, tt.status, tt.want)
			}
		})
	}
}

func TestReloadRequestDefaults(t *testing.T) {
	path, target := socket(t), newFake()
	start(t, path, target)
	for body, want := range map[string]ReloadRequest{
		"":                                  {CanarySeconds: DefaultCanarySeconds},
		"{}":                                {CanarySeconds: DefaultCanarySeconds},
		`{"canary_seconds":0}`:              {},
		`{"canary_seconds":2.5}`:            {CanarySeconds: 2.5},
		`{"keep_primary":true,"unknown":1}`: {CanarySeconds: DefaultCanarySeconds, KeepPrimary: true},
	} {
		target.operation = func(_ context.Context, req any, _ Reporter) (Result, error) {
			if req != want {
				t.Errorf("%s: got %+v, want %+v", body, req, want)
			}
			return Result{}, nil
		}
		post(t, path, "/reload", body)
	}
}

// TestOperationContinuesWithoutClient checks that an operation does not wait for a client that does not read or has
// disconnected.
func TestOperationContinuesWithoutClient(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaves: %v", leaves), func(t *testing.T) {
			path, target := socket(t), newFake()
			begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			target.operation = func(ctx context.Context, _ any, r Reporter) (Result, error) {
				close(begun)
				<-goOn
				for i := range 50_000 { // more than the socket buffer
					r.Progress(Progress{Slot: i})
				}
				r.Replacing(1, Result{})
				ended <- ctx.Err()
				return Result{}, nil
			}
			start(t, path, target)
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			<-begun
			if leaves {
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
			close(goOn)
			if err := <-ended; err != nil {
				t.Errorf("the operation's context: got %v, want it to go on", err)
			}
		})
	}
}

// TestOperationEndsWithServer checks that the context of an operation ends with the server.
func TestOperationEndsWithServer(t *testing.T) {
	path, target := socket(t), newFake()
	begun := make(chan struct{})
	target.operation = func(ctx context.Context, _ any, r Reporter) (Result, error) {
		r.Progress(Progress{Slot: 1})
		close(begun)
		<-ctx.Done()
		return Result{}, errPlain
	}
	s := start(t, path, target)
	result := make(chan error, 1)
	c := dial(t, path)
	go func() {
		_, err := c.Rebalance(t.Context(), nil)
		result <- err
	}()
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	err := <-result
	wantError(t, err, "no idea")
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeFailed {
		t.Errorf("got %#v, want the code failed", err)
	}
}

// deadlines records the deadlines of a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestLinesLeaveNoDeadline checks that the next request on the connection has no deadline.
func TestLinesLeaveNoDeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s := reporter{newLineWriter(w, progressPatience)}
	s.Progress(Progress{Slot: 1})
	s.end()
	s.Progress(Progress{Slot: 2}) // too late, and harmless
	s.Replacing(1, Result{})
	s.end()
	if n := len(w.set); n != 2 || w.set[0].IsZero() || !w.set[1].IsZero() {
		t.Errorf("deadlines: got %v, want one for the line and none after it", w.set)
	}
	if got := strings.Count(w.Body.String(), "\n"); got != 1 {
		t.Errorf("got %q, want one line", w.Body)
	}
}

// TestClientOperations checks that requests, progress and results arrive as they were sent.
func TestClientOperations(t *testing.T) {
	progress := []Progress{{Kind: "scale", Slot: 1, Step: StepStarting, Slots: 2, Message: "x"}, {Slot: 1, Step: StepDone, Moved: 3}}
	result := Result{Moved: 3, Drained: 2, Failed: 1, Seconds: 0.5, Workers: 2, Version: "v2"}
	path, target := socket(t), newFake()
	var asked any
	target.operation = func(_ context.Context, req any, r Reporter) (Result, error) {
		asked = req
		for _, p := range progress {
			r.Progress(p)
		}
		return result, nil
	}
	start(t, path, target)
	c := dial(t, path)
	reload, scale := ReloadRequest{CanarySeconds: 3, KeepPrimary: true}, ScaleRequest{Workers: 9}
	for _, tt := range []struct {
		name string
		ask  func(on func(Progress)) (Result, error)
		want any
	}{
		{"reload", func(on func(Progress)) (Result, error) { return c.Reload(t.Context(), reload, on) }, reload},
		{"scale", func(on func(Progress)) (Result, error) { return c.Scale(t.Context(), scale, on) }, scale},
		{"rebalance", func(on func(Progress)) (Result, error) { return c.Rebalance(t.Context(), on) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen []Progress
			got, err := tt.ask(func(p Progress) { seen = append(seen, p) })
			if err != nil || !reflect.DeepEqual(got, result) || asked != tt.want || !reflect.DeepEqual(seen, progress) {
				t.Errorf("got %+v, %v, asked %+v, progress %+v", got, err, asked, seen)
			}
			if _, err := tt.ask(nil); err != nil {
				t.Errorf("without a listener: %v", err)
			}
		})
	}
}
