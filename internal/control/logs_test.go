package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func gather(lines *[]string) func([]byte) error {
	return func(line []byte) error {
		*lines = append(*lines, string(line))
		return nil
	}
}

// TestRecentLogs checks that all lines arrive in order, however slow the client is.
func TestRecentLogs(t *testing.T) {
	path, target := socket(t), newRequested()
	const lines = 20_000
	text := func(i int) string { return fmt.Sprintf(`{"msg":"m","i":%d,"text":%q}`, i, strings.Repeat("x", 200)) }
	target.logs = func(_ context.Context, _ LogsRequest, write func([]byte) error) error {
		for i := range lines {
			if err := write([]byte(text(i))); err != nil {
				return err
			}
		}
		return nil
	}
	start(t, path, target)
	c := dial(t, path)
	want := LogsRequest{User: "alice", Session: "s", Conn: "c", Worker: 3, Level: "warn", Recent: true}
	var got []string
	if err := c.Logs(t.Context(), want, gather(&got)); err != nil {
		t.Fatal(err)
	}
	if asked := <-target.asked; asked != want {
		t.Errorf("the target was asked %+v, want %+v", asked, want)
	}
	if len(got) != lines {
		t.Fatalf("got %d lines, want %d", len(got), lines)
	}
	for i, line := range got {
		if line != text(i) {
			t.Fatalf("line %d: got %q, want %q", i, line, text(i))
		}
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("the connection does not live on: %v", err)
	}
}

// TestLogsOfNothing checks that a log without lines is not an error.
func TestLogsOfNothing(t *testing.T) {
	path, target := socket(t), newRequested()
	target.logs = func(context.Context, LogsRequest, func([]byte) error) error { return nil }
	start(t, path, target)
	if err := dial(t, path).Logs(t.Context(), LogsRequest{Recent: true}, func([]byte) error { return errors.New("a line") }); err != nil {
		t.Error(err)
	}
}

// following is a target whose log lines the test writes.
type following struct {
	*requested
	write chan func([]byte) error // of each client
	ended chan error              // its context's error
}

func newFollowing() *following {
	f := &following{requested: newRequested(), write: make(chan func([]byte) error, 100), ended: make(chan error, 100)}
	f.logs = func(ctx context.Context, _ LogsRequest, write func([]byte) error) error {
		f.write <- write
		<-ctx.Done()
		f.ended <- ctx.Err()
		return nil
	}
	return f
}

// TestFollowLogs checks that lines arrive as they are written, and that the context of the target ends when the client
// disconnects.
func TestFollowLogs(t *testing.T) {
	path, target := socket(t), newFollowing()
	start(t, path, target)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := dial(t, path)
	lines, done := make(chan string), make(chan error, 1)
	go func() {
		done <- c.Logs(ctx, LogsRequest{Follow: true}, func(line []byte) error {
			lines <- string(line)
			return nil
		})
	}()
	write := <-target.write
	for i := range 3 {
		want := fmt.Sprintf(`{"i":%d}`, i)
		if err := write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if got := <-lines; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	cancel()
	err := <-done
	wantError(t, err, path, "log")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := <-target.ended; err == nil {
		t.Error("the target's context goes on without a reader")
	}
}

// TestClientThatHasEnough checks that Logs returns the error of onLine.
func TestClientThatHasEnough(t *testing.T) {
	for _, enough := range []error{errors.New("enough"), io.ErrUnexpectedEOF} {
		path, target := socket(t), newFollowing()
		start(t, path, target)
		go func() { _ = (<-target.write)([]byte("{}")) }()
		err := dial(t, path).Logs(t.Context(), LogsRequest{Follow: true}, func([]byte) error { return enough })
		if err != enough { //nolint:errorlint // itself, and not one that wraps it
			t.Errorf("got %v, want %v", err, enough)
		}
		<-target.ended
	}
}

// TestSlowClient checks that nothing waits for a slow client, that other clients miss nothing, and that the slow one
// learns how many lines it has missed.
func TestSlowClient(t *testing.T) {
	path, target := socket(t), newFollowing()
	start(t, path, target)
	resp := request(t, path, "POST", "/logs", `{"follow":true}`)
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type: got %q", got)
	}
	write := <-target.write
	const lines = 3000 // of 1 KiB: more than the queue and the socket buffer
	for i := range lines {
		line := fmt.Sprintf(`{"i":%d,"text":%q}`, i, strings.Repeat("x", 1000))
		if err := write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := write([]byte(`{"text":"` + strings.Repeat("x", maxLogLine) + `"}`)); err != nil { // never fits
		t.Fatal(err)
	}
	got, lost, next := 0, 0, 0
	for d := json.NewDecoder(resp.Body); got+lost < lines+1; {
		var l struct {
			I    *int
			Lost int
		}
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.I == nil {
			lost, next = lost+l.Lost, next+l.Lost
			continue
		}
		if *l.I != next {
			t.Fatalf("got line %d, want %d: what is missing was not told", *l.I, next)
		}
		got, next = got+1, next+1
	}
	if lost < 2 || got < 100 {
		t.Errorf("got %d lines, %d lost, want some of both", got, lost)
	}
	if err := write([]byte(`{"i":0}`)); err != nil {
		t.Error(err)
	}
	_ = resp.Body.Close()
	<-target.ended
}

// TestLogsThatFail checks that errors arrive before the first line and after it.
func TestLogsThatFail(t *testing.T) {
	for _, lines := range []int{0, 2} {
		path, target := socket(t), newRequested()
		target.logs = func(_ context.Context, _ LogsRequest, write func([]byte) error) error {
			for range lines {
				if err := write([]byte(`{"error":"of a line"}`)); err != nil {
					return err
				}
			}
			return &Error{Code: CodeUnavailable, Message: "no more followers"}
		}
		start(t, path, target)
		var got []string
		err := dial(t, path).Logs(t.Context(), LogsRequest{Follow: true}, gather(&got))
		wantError(t, err, path, "no more followers")
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnavailable || len(got) != lines {
			t.Errorf("got %v after %q", err, got)
		}
	}
}

// TestFollowEndsWithTheServer checks the error if the server closes, and if it crashes.
func TestFollowEndsWithTheServer(t *testing.T) {
	path, target := socket(t), newFollowing()
	s := start(t, path, target)
	c := dial(t, path)
	done := make(chan error, 1)
	go func() { done <- c.Logs(t.Context(), LogsRequest{Follow: true}, gather(new([]string))) }()
	<-target.write
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, <-done, path, "has ended")

	for name, answer := range map[string]string{
		"gone before it answers": "", "gone between lines": streamHead + "{}\n", "gone within a line": streamHead + "{",
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			if answer != "" { // interrupted, not ended: there is no last chunk
				head, body, _ := strings.Cut(answer, "\r\n\r\n")
				answer = head + "\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
			}
			puppet(t, path, answer)
			err := dial(t, path).Logs(t.Context(), LogsRequest{Follow: true}, gather(new([]string)))
			wantError(t, err, path, "has ended")
		})
	}
}

// TestFollowContinuesWithTheNextPrimary checks that the client reconnects to a primary that takes over the socket, as
// after exec(2).
func TestFollowContinuesWithTheNextPrimary(t *testing.T) {
	path := socket(t)
	dying, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dying.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var wg sync.WaitGroup
	first := newFollowing()
	wg.Go(func() { _ = dying.Serve(first) }) // an error, because it was interrupted
	c := dial(t, path)
	var mu sync.Mutex
	heard := sync.NewCond(&mu)
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- c.Logs(ctx, LogsRequest{Follow: true, Recent: true}, func(line []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(line))
			heard.Signal()
			if len(got) == 2 {
				cancel()
			}
			return nil
		})
	}()
	if err := (<-first.write)([]byte("1")); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	for len(got) == 0 {
		heard.Wait()
	}
	mu.Unlock()
	if err := dying.http.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Inherit(path, f)
	if err != nil {
		t.Fatal(err)
	}
	next := newFollowing()
	wg.Go(func() { _ = s.Serve(next) })
	t.Cleanup(func() { _ = s.Close(); wg.Wait() })
	if err := (<-next.write)([]byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if asked := (<-next.asked).(LogsRequest); asked.Recent || !asked.Follow {
		t.Errorf("the next primary was asked %+v, want what comes from now on", asked)
	}
	if fmt.Sprint(got) != "[1 2]" {
		t.Errorf("got %q, want the line of each", got)
	}
}

// TestTooManyLogClients checks the error beyond the limit.
func TestTooManyLogClients(t *testing.T) {
	path, target := socket(t), newFollowing()
	start(t, path, target)
	for range maxLogClients {
		resp := request(t, path, "POST", "/logs", `{"follow":true}`)
		if resp.StatusCode != 200 {
			t.Fatalf("got %s", resp.Status)
		}
		defer resp.Body.Close()
	}
	err := dial(t, path).Logs(t.Context(), LogsRequest{Follow: true}, gather(new([]string)))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeBusy {
		t.Errorf("got %v, want the code %s", err, CodeBusy)
	}
}

// gate is a client that reads nothing until it is opened.
type gate struct {
	http.ResponseWriter
	open chan struct{}

	mu   sync.Mutex
	head chan struct{} // closed when the head of the answer is out
	got  bytes.Buffer
}

func newGate() *gate {
	return &gate{ResponseWriter: httptest.NewRecorder(), open: make(chan struct{}), head: make(chan struct{})}
}

func (g *gate) WriteHeader(int) { close(g.head) }

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(b)
}

func (g *gate) FlushError() error                { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }

// TestLossIsReportedInPlace checks that lines after a loss are not written before the loss is reported.
func TestLossIsReportedInPlace(t *testing.T) {
	g := newGate()
	s := newLineWriter(g, logPatience)
	s.open()
	<-g.head
	var want strings.Builder
	for _, line := range []string{"a", strings.Repeat("x", maxLogLine+1), "b"} {
		if err := s.log([]byte(line), true); err != nil {
			t.Fatal(err)
		}
	}
	close(g.open)
	s.end()
	// Whether the first line leaves before the loss depends on the scheduler; the order does not.
	want.WriteString("a\n{\"lost\":2}\n")
	if got := g.got.String(); got != want.String() && got != "a\n{\"lost\":1}\nb\n" {
		t.Errorf("got %q, want %q", got, want.String())
	}
	if err := s.log([]byte("late"), true); !errors.Is(err, errClientGone) {
		t.Errorf("after the end: got %v, want %v", err, errClientGone)
	}
}

// TestRecentLogsWait checks that, without Follow, the target waits for a slow client, which receives everything.
func TestRecentLogsWait(t *testing.T) {
	g := newGate()
	s := newLineWriter(g, logPatience)
	s.open()
	line := []byte(strings.Repeat("x", 1023))
	const lines = 5000
	for i := range lines {
		if i == 1000 { // just before the queue is full
			close(g.open)
		}
		if err := s.log(line, false); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
	if got := g.got.Len(); got != lines*1024 || strings.Contains(g.got.String(), "lost") {
		t.Errorf("got %d bytes, want %d", got, lines*1024)
	}
}
