package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// field is an Extractor of one field of a JSON object.
type field string

func (f field) Extract(message []byte) (any, bool) {
	var m map[string]any
	if json.Unmarshal(message, &m) != nil {
		return nil, false
	}
	v, ok := m[string(f)]
	return v, ok
}

// whole is an Extractor of the whole message.
type whole struct{}

func (whole) Extract(message []byte) (any, bool) { return string(message), true }

// varText is a Template that consists of one variable.
type varText string

func (t varText) Append(dst []byte, v *Vars) ([]byte, error) {
	x, ok := v.Get(string(t))
	if !ok {
		return dst, errors.New("no variable " + string(t))
	}
	return append(dst, valueText(x)...), nil
}

// plan returns a plan of one scenario with n users, who all arrive at once.
func plan(n int, steps ...Step) *Plan {
	return &Plan{Phases: []Phase{{Count: n}}, Scenarios: []Scenario{{Steps: steps}}, Timeout: 5 * time.Second}
}

// TestPlan checks that users take the steps of their scenario in order.
func TestPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var turns atomic.Int64
	p := plan(10,
		Connect{URL: Text(s.url("/header")), Header: []HeaderTemplate{{"X-User", varText("name")}}, Subprotocols: []string{"demo.v1"}},
		Send{Payload: Text(`{"event":"ping","n":7}`), Reply: &Reply{
			Match:   []Match{{"$.event", field("event"), Text("ping")}, {"$.n", field("n"), Text("7")}},
			Capture: []Capture{{Name: "$.n", Part: field("n"), As: "n"}, {Name: "$.x", Part: field("x"), As: "x", Optional: true}},
		}},
		Think{For: time.Millisecond},
		Think{Func: func(v *Vars) (time.Duration, error) { return time.Millisecond, nil }},
		Loop{Count: 3, From: 1, Steps: []Step{
			Send{Payload: varText("$loopCount"), Reply: &Reply{}},
			Loop{Over: func(v *Vars) ([]any, error) { return []any{"a", "b"}, nil }, Steps: []Step{
				Send{Payload: varText("$loopElement"), Reply: &Reply{}},
			}},
			Call{Func: func(v *Vars) {
				n, _ := v.Get("$loopCount") // that of the outer loop again
				turns.Add(int64(n.(int)))
			}},
		}},
		Send{Payload: varText("n"), Reply: &Reply{Match: []Match{{"$", whole{}, Text("7")}}}},
		Connect{URL: Text(s.url("/echo"))},
		Send{Payload: Text("again"), Reply: &Reply{}},
	)
	p.Init = func(user int, v *Vars) error {
		v.Set("name", fmt.Sprint("u", user))
		return nil
	}
	p.Judge = func(r *Report) []string { return []string{fmt.Sprint(r.Users.Completed, " of ", r.Users.Arrived)} }
	r := bench(t, Config{Plan: p})
	want(t, "errors", fmt.Sprint(r.Errors), "map[]")
	want(t, "arrived", r.Users.Arrived, 10)
	want(t, "completed", r.Users.Completed, 10)
	want(t, "opened", r.Connections.Opened, 20)
	want(t, "sent", r.Messages.Sent, 10*(1+3*3+1+1))
	want(t, "received", r.Messages.Received, r.Messages.Sent)
	want(t, "times", uint64(r.histogram.TotalCount()), r.Messages.Sent)
	want(t, "turns", turns.Load(), 10*(1+2+3))
	want(t, "judged", fmt.Sprint(r.Failures), "[10 of 10]")
	s.locked(func() { want(t, "header", strings.HasPrefix(s.header.Get("X-User"), "u"), true) })
	if r.Users.SessionSeconds.P50 == nil {
		t.Error("no length of sessions")
	}
}

// TestGreetingIsNoReply checks that a message from before the send is not taken for its reply.
func TestGreetingIsNoReply(t *testing.T) {
	s := newSite(t)
	r := bench(t, Config{Plan: plan(5, Connect{URL: Text(s.url("/prompt"))},
		Send{Payload: Text(`{"event":"ask"}`), Reply: &Reply{Match: []Match{{"$.event", field("event"), Text("ask")}}}})})
	want(t, "errors", fmt.Sprint(r.Errors), "map[]")
	want(t, "completed", r.Users.Completed, 5)
	want(t, "times", uint64(r.histogram.TotalCount()), 5)
}

// TestPlanFailures checks that a failed step ends its user and is counted by its cause.
func TestPlanFailures(t *testing.T) {
	s := newSite(t)
	connect := func(path string) Step { return Connect{URL: Text(s.url(path))} }
	for _, tt := range []struct {
		name  string
		steps []Step
		want  string
	}{
		{"refused", []Step{connect("/refuse")}, "http 401 token_expired"},
		{"no URL", []Step{Connect{URL: Text("nothing")}}, `loadtest: URL "nothing": malformed: want one like ws://127.0.0.1:8080/echo`},
		{"remote", []Step{Connect{URL: Text("ws://192.0.2.1/")}}, "loadtest: the target is not on this machine: 192.0.2.1 is 192.0.2.1"},
		{"no such host", []Step{Connect{URL: Text("ws://no-such-host.invalid/")}}, "dns: no such host"},
		{"nobody there", []Step{Connect{URL: Text("ws://" + closedPort(t))}}, "ECONNREFUSED"},
		{"no match", []Step{connect("/echo"), Send{Payload: Text(`{"n":1}`), Reply: &Reply{Match: []Match{{"$.n", field("n"), Text("2")}}}}}, "no match: $.n"},
		{"no capture", []Step{connect("/echo"), Send{Payload: Text(`{"n":1}`), Reply: &Reply{Capture: []Capture{{Name: "$.m", Part: field("m"), As: "m"}}}}}, "no capture: $.m"},
		{"no reply", []Step{connect("/room"), Loop{Count: 2, Steps: []Step{Send{Payload: Text("x"), Reply: &Reply{Timeout: 50 * time.Millisecond}}}}}, "timeout of a reply"},
		{"not connected", []Step{Send{Payload: Text("x")}}, "script: send before connect"},
		{"closed by the server", []Step{connect("/close"), Send{Payload: Text("x"), Reply: &Reply{}}}, "closed 4001"},
		{"closed while thinking", []Step{connect("/close"), Think{For: 5 * time.Second}, Send{Payload: Text("x")}}, "closed 4001"},
		{"no variable", []Step{connect("/echo"), Send{Payload: varText("x")}}, "script: no variable x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.locked(func() { s.forget = func(int) bool { return true } })
			r := bench(t, Config{Plan: plan(3, tt.steps...)})
			want(t, "arrived", r.Users.Arrived, 3)
			want(t, "failed", r.Users.Failed, 3)
			want(t, "completed", r.Users.Completed, 0)
			only(t, "errors", r.Errors, tt.want, 3)
		})
	}
}

// TestPlanBounds checks that endless steps leave time for other users, and end with the run.
func TestPlanBounds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := plan(1, Loop{Steps: []Step{Call{Func: func(*Vars) {}}}})
	p.Scenarios = append(p.Scenarios, Scenario{Weight: -1, Steps: []Step{Connect{URL: Text(s.url("/echo"))}}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg := quick(Config{Plan: p})
	cfg.Progress = func(Progress) { cancel() }
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "interrupted", r.Interrupted, true)
	want(t, "completed", r.Users.Completed, 0)
}

// TestArrivals checks when the users of a phase arrive.
func TestArrivals(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, tt := range []struct {
		name  string
		phase Phase
		n     int
		at    map[int]time.Duration
	}{
		{"steady", Phase{Duration: seconds(5), Rate: 10, EndRate: 10}, 50, map[int]time.Duration{0: 0, 1: seconds(0.1), 49: seconds(4.9)}},
		{"growing", Phase{Duration: seconds(10), Rate: 0, EndRate: 10}, 50, map[int]time.Duration{0: 0, 2: seconds(2), 8: seconds(4)}},
		{"shrinking", Phase{Duration: seconds(10), Rate: 10, EndRate: 0}, 50, map[int]time.Duration{0: 0, 42: seconds(6)}},
		{"a number", Phase{Duration: seconds(4), Count: 8}, 8, map[int]time.Duration{0: 0, 7: seconds(3.5)}},
		{"all at once", Phase{Count: 8}, 8, map[int]time.Duration{7: 0}},
		{"a pause", Phase{Duration: seconds(4)}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := arrivals{phases: []Phase{{Duration: time.Second}, tt.phase}}
			n := 0
			for ; ; n++ {
				x, ok := a.peek()
				if !ok {
					break
				}
				want(t, "number", x.number, n)
				if at, ok := tt.at[n]; ok && (x.at-time.Second-at).Abs() > time.Millisecond {
					t.Errorf("user %d: got %v, want %v", n, x.at-time.Second, at)
				}
				a.pop()
			}
			want(t, "users", n, tt.n)
		})
	}
}

// TestMaxUsers checks that users are skipped while the limit of active users is reached.
func TestMaxUsers(t *testing.T) {
	s := newSite(t)
	p := plan(10, Connect{URL: Text(s.url("/echo"))}, Think{For: 3 * time.Second})
	p.Phases[0].MaxUsers = 4
	r := bench(t, Config{Plan: p})
	want(t, "arrived", r.Users.Arrived, 4)
	want(t, "skipped", r.Users.Skipped, 6)
}

// TestPlanErrors checks that invalid plans are refused.
func TestPlanErrors(t *testing.T) {
	deep := Step(Think{})
	for range maxDepth + 1 {
		deep = Loop{Count: 1, Steps: []Step{deep}}
	}
	for name, p := range map[string]*Plan{
		"no phases":        {Scenarios: []Scenario{{}}},
		"no scenarios":     {Phases: []Phase{{}}},
		"nobody":           {Phases: []Phase{{}}, Scenarios: []Scenario{{Weight: -1}}},
		"negative":         {Phases: []Phase{{Duration: -1}}, Scenarios: []Scenario{{}}},
		"too fast":         {Phases: []Phase{{Rate: 1e9}}, Scenarios: []Scenario{{}}},
		"empty step":       plan(1, nil),
		"no URL":           plan(1, Connect{}),
		"no payload":       plan(1, Send{}),
		"loops":            plan(1, deep),
		"within a loop":    plan(1, Loop{Steps: []Step{Send{}}}),
		"no function":      plan(1, Call{}),
		"negative think":   plan(1, Think{For: -1}),
		"negative timeout": plan(1, Send{Payload: Text(""), Reply: &Reply{Timeout: -1}}),
	} {
		if err := p.check(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
