package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// requested is a target that answers as the test says, and records the requests.
type requested struct {
	*fake
	ready    Readiness
	asked    chan any
	list     SessionList
	kicked   KickResult
	revoked  RevokeResult
	problem  error
	logs     func(ctx context.Context, req LogsRequest, write func([]byte) error) error
	whileAct func(ctx context.Context)
}

func newRequested() *requested { return &requested{fake: newFake(), asked: make(chan any, 100)} }

func (o *requested) act(ctx context.Context, req any) {
	o.asked <- req
	if o.whileAct != nil {
		o.whileAct(ctx)
	}
}

func (o *requested) Sessions(ctx context.Context, req SessionsRequest) (SessionList, error) {
	o.act(ctx, req)
	return o.list, o.problem
}

func (o *requested) Kick(ctx context.Context, req KickRequest) (KickResult, error) {
	o.act(ctx, req)
	return o.kicked, o.problem
}

func (o *requested) Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error) {
	o.act(ctx, req)
	return o.revoked, o.problem
}

func (o *requested) Logs(ctx context.Context, req LogsRequest, write func([]byte) error) error {
	o.asked <- req
	return o.logs(ctx, req, write)
}

func (o *requested) Publish(ctx context.Context, req PublishRequest) error {
	o.act(ctx, req)
	return o.problem
}

func (o *requested) ReopenLogs(ctx context.Context) error {
	o.act(ctx, nil)
	return o.problem
}

func (o *requested) Drain(ctx context.Context, req DrainRequest) error {
	o.act(ctx, req)
	return o.problem
}

func (o *requested) Ready(ctx context.Context) (Readiness, error) {
	o.asked <- nil
	return o.ready, o.problem
}

var _ Target = (*requested)(nil)

// calls returns the requests other than logs, as methods of a client.
func calls(c *Client) map[string]func(context.Context) (any, error) {
	return map[string]func(context.Context) (any, error){
		"sessions": func(ctx context.Context) (any, error) {
			return c.Sessions(ctx, SessionsRequest{User: "a&b=ü", Limit: 7})
		},
		"kick": func(ctx context.Context) (any, error) { return c.Kick(ctx, KickRequest{User: "alice", Reason: "bye"}) },
		"revoke": func(ctx context.Context) (any, error) {
			return c.Revoke(ctx, RevokeRequest{TokenID: "t1", Seconds: 60})
		},
		"publish": func(ctx context.Context) (any, error) {
			return nil, c.Publish(ctx, PublishRequest{"lobby", "<hello>\n"})
		},
		"drain": func(ctx context.Context) (any, error) {
			return nil, c.Drain(ctx, DrainRequest{SettleSeconds: 0.5, OverSeconds: 60, Notice: "bye"})
		},
		"reopen-logs": func(ctx context.Context) (any, error) { return nil, c.ReopenLogs(ctx) },
	}
}

// TestRequestsTravel checks that requests and answers arrive with all fields.
func TestRequestsTravel(t *testing.T) {
	path, target := socket(t), newRequested()
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	target.list = SessionList{Sessions: []Session{
		{ID: "s1", User: "alice", Created: at, Seen: at, Connected: true, Conn: "00ab", Node: "n", Params: map[string]string{"v": "1"}},
		{ID: "s2", Params: map[string]string{}},
	}, Store: "redis", Degraded: true, More: true}
	target.kicked = KickResult{Closed: 3}
	target.revoked = RevokeResult{Closed: 2, Until: at, Stored: true, Warning: "w"}
	start(t, path, target)
	requests := map[string]any{
		"sessions": SessionsRequest{User: "a&b=ü", Limit: 7}, "kick": KickRequest{User: "alice", Reason: "bye"},
		"revoke": RevokeRequest{TokenID: "t1", Seconds: 60}, "publish": PublishRequest{"lobby", "<hello>\n"}, "reopen-logs": nil,
		"drain": DrainRequest{SettleSeconds: 0.5, OverSeconds: 60, Notice: "bye"},
	}
	answers := map[string]any{"sessions": target.list, "kick": target.kicked, "revoke": target.revoked, "publish": nil, "drain": nil, "reopen-logs": nil}
	for name, call := range calls(dial(t, path)) {
		got, err := call(t.Context())
		if err != nil || !reflect.DeepEqual(got, answers[name]) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, answers[name])
		}
		if asked := <-target.asked; !reflect.DeepEqual(asked, requests[name]) {
			t.Errorf("%s: the target was asked %+v, want %+v", name, asked, requests[name])
		}
	}
	target.ready = Readiness{Workers: 2, Reason: "why"}
	if got, err := dial(t, path).Readiness(t.Context()); err != nil || got != target.ready {
		t.Errorf("readiness: got %+v, %v", got, err)
	}
	<-target.asked
	if _, err := dial(t, path).Sessions(t.Context(), SessionsRequest{}); err != nil {
		t.Error(err)
	}
	if asked := <-target.asked; asked != (SessionsRequest{Limit: DefaultSessions}) {
		t.Errorf("sessions of everybody: the target was asked %+v", asked)
	}
}

// TestRequestErrorsTravel checks that errors arrive with their codes, or with one of the server if they have none.
func TestRequestErrorsTravel(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want Error
	}{
		{"its own", &Error{Code: CodeNotFound, Message: "no session s1"}, Error{Code: CodeNotFound, Message: "no session s1"}},
		{"wrapped", fmt.Errorf("x: %w", &Error{Code: CodeUnavailable, Message: "m"}), Error{Code: CodeUnavailable, Message: "m"}},
		{"plain", errors.New("control: oh"), Error{Code: CodeFailed, Message: "oh"}},
	} {
		path, target := socket(t), newRequested()
		target.problem = tt.err
		start(t, path, target)
		for name, call := range calls(dial(t, path)) {
			_, err := call(t.Context())
			wantError(t, err, path, tt.want.Message)
			if e, ok := errors.AsType[*Error](err); !ok || *e != tt.want {
				t.Errorf("%s, %s: got %#v, want %+v", tt.name, name, err, tt.want)
			}
			<-target.asked
		}
	}
}

// TestRequestsAreChecked checks that invalid requests do not reach the target.
func TestRequestsAreChecked(t *testing.T) {
	path, target := socket(t), newRequested()
	start(t, path, target)
	long := strings.Repeat("x", maxPublish+1)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"kick nobody", "POST", "/kick", "", 400, "exactly one of user, session and conn"},
		{"kick two", "POST", "/kick", `{"user":"a","conn":"b"}`, 400, "exactly one"},
		{"kick by another name", "POST", "/kick", `{"usr":"a"}`, 400, "exactly one"},
		{"kick with a long reason", "POST", "/kick", `{"user":"a","reason":"` + long[:124] + `"}`, 400, "reason of 124 bytes: want at most 123"},
		{"kick somebody with a long name", "POST", "/kick", `{"user":"` + long[:4097] + `"}`, 400, "user of 4097 bytes"},
		{"kick by GET", "GET", "/kick", "", 405, "method_not_allowed"},
		{"kick, no JSON", "POST", "/kick", "alice", 400, "not a request of /kick"},
		{"kick, too much", "POST", "/kick", `{"user":"` + strings.Repeat("x", maxText) + `"}`, 400, "not a request of /kick"},
		{"revoke nobody", "POST", "/revoke", "{}", 400, "exactly one of user, session and token_id"},
		{"revoke for less than no time", "POST", "/revoke", `{"user":"a","seconds":-1}`, 400, "seconds -1"},
		{"revoke for ever", "POST", "/revoke", `{"user":"a","seconds":99999999999}`, 400, "seconds 99999999999"},
		{"publish nowhere", "POST", "/publish", `{"text":"a"}`, 400, "topic is empty"},
		{"publish to a long name", "POST", "/publish", `{"topic":"` + long[:257] + `"}`, 400, "topic of 257 bytes"},
		{"publish too much", "POST", "/publish", `{"topic":"a","text":"` + long + `"}`, 400, "text of 1048577 bytes"},
		{"sessions without end", "GET", "/sessions?limit=1000001", "", 400, "limit"},
		{"sessions of no number", "GET", "/sessions?limit=many", "", 400, `limit \"many\"`},
		{"sessions of no UTF-8", "GET", "/sessions?user=%ff", "", 400, "not UTF-8"},
		{"logs of nothing", "POST", "/logs", "{}", 400, "want follow, recent or both"},
		{"logs of a level", "POST", "/logs", `{"follow":true,"level":"loud"}`, 400, "debug, info, warn or error"},
		{"logs of a worker", "POST", "/logs", `{"follow":true,"worker":1001}`, 400, "worker 1001"},
		{"logs by GET", "GET", "/logs", "", 405, "method_not_allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := request(t, path, tt.method, tt.path, tt.body)
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || !strings.Contains(string(b), tt.want) {
				t.Errorf("got %d %s, want %d and %q", resp.StatusCode, b, tt.status, tt.want)
			}
			var f line
			if err := json.Unmarshal(b, &f); err != nil || f.Error == nil || f.Error.Code == "" || f.Error.Message == "" {
				t.Errorf("got %s, want a code and a message", b)
			}
		})
	}
	err := dial(t, path).Publish(t.Context(), PublishRequest{"a", "\xff"})
	wantError(t, err, "not UTF-8")
	if len(target.asked) > 0 {
		t.Errorf("the target was asked %+v", <-target.asked)
	}
}

// request sends a request on a connection of its own.
func request(t *testing.T, path, method, url, body string) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestAnswersHaveNoNull checks that lists are never null, because scripts iterate over them.
func TestAnswersHaveNoNull(t *testing.T) {
	for _, v := range []any{SessionList{}, SessionList{Sessions: []Session{{}}}, KickResult{}, RevokeResult{}} {
		b, err := json.Marshal(v)
		if err != nil || bytes.Contains(b, []byte("null")) {
			t.Errorf("%T: got %s, %v", v, b, err)
		}
	}
	b, err := json.MarshalIndent(SessionList{Sessions: []Session{{ID: "s1", User: "alice"}}, Store: "memory"}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sessions.json", string(b)+"\n")
}

// TestRequestsContinueWithoutClient checks that a kick continues if its client disconnects, and that a list does not.
func TestRequestsContinueWithoutClient(t *testing.T) {
	path, target := socket(t), newRequested()
	left, ended := make(chan struct{}), make(chan error, 1)
	target.whileAct = func(ctx context.Context) {
		<-left
		ended <- ctx.Err()
	}
	start(t, path, target)
	for name, call := range calls(dial(t, path)) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-target.asked
			cancel()
		}()
		if _, err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
		left <- struct{}{}
		if err := <-ended; err != nil && name != "sessions" {
			t.Errorf("%s: the target's context: got %v, want it to go on", name, err)
		}
	}
}

// TestRequestsEndWithTheServer checks that Close does not wait for them.
func TestRequestsEndWithTheServer(t *testing.T) {
	path, target := socket(t), newRequested()
	target.whileAct = func(ctx context.Context) { <-ctx.Done() }
	target.problem = errors.New("interrupted")
	s := start(t, path, target)
	c := dial(t, path)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := c.Kick(t.Context(), KickRequest{Conn: "1"}); err == nil {
				t.Error("got no error, want one")
			}
		})
		<-target.asked
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
