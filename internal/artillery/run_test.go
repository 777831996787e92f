package artillery

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// patience limits every wait in these tests. A test that reaches it fails; no test depends on being faster.
const patience = 60 * time.Second

// echo is a server built on another library. It records what arrives.
type echo struct {
	*httptest.Server
	all   sync.WaitGroup
	mu    sync.Mutex
	users [][]string // what each user sent, its request first
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	s := &echo{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	t.Setenv("ARTILLERY_TEST_TARGET", s.URL) // with scheme http, which scripts may use as well
	return s
}

// heard returns what all users sent, once they are gone.
func (s *echo) heard() [][]string {
	s.all.Wait()
	return s.users
}

func (s *echo) serve(w http.ResponseWriter, r *http.Request) {
	s.all.Add(1)
	defer s.all.Done()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"two"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	said := []string{"connect " + r.URL.String() + " " + c.Subprotocol() + " " + r.Header.Get("X-Test")}
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil {
			break
		}
		said = append(said, "send "+string(b))
		if c.Write(r.Context(), kind, b) != nil {
			break
		}
	}
	s.mu.Lock()
	s.users = append(s.users, said)
	s.mu.Unlock()
}

// bench runs a script as the command does.
func bench(t *testing.T, text string) (*loadtest.Plan, *loadtest.Report) {
	t.Helper()
	p := planOf(t, "s.yml", text)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := loadtest.Run(ctx, loadtest.Config{Plan: p, Processes: 1, ServerPID: -1})
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

// TestSeedRuns checks that a script in artillery's classic form runs unchanged, apart from the port and the duration.
func TestSeedRuns(t *testing.T) {
	s := newEcho(t)
	_, r := bench(t, `
config:
  target: "{{ $env.ARTILLERY_TEST_TARGET }}/echo"
  phases: [ { duration: 1, arrivalRate: 10, rampTo: 40, name: ramp } ]
scenarios:
  - engine: ws
    flow: [ { connect: "{{ target }}?access_token={{ $randomString() }}" }, { send: "hello" }, { think: 1 } ]`)
	if r.Users == nil || r.Users.Completed != 25 || r.Users.Failed != 0 {
		t.Fatalf("got %+v and %v, want 25 users that complete", r.Users, r.Errors)
	}
	tokens := make(map[string]bool)
	for _, u := range s.heard() {
		path, token, _ := strings.Cut(strings.Fields(u[0])[1], "access_token=")
		if path != "/echo?" || len(token) != 10 || tokens[token] || !slices.Equal(u[1:], []string{"send hello"}) {
			t.Errorf("got %q, want one hello and a token of its own", u)
		}
		tokens[token] = true
	}
	if len(s.users) != 25 {
		t.Errorf("got %d users at the server, want 25", len(s.users))
	}
}

// TestRunsAsTraced checks that the load generator does what the golden files contain.
func TestRunsAsTraced(t *testing.T) {
	s := newEcho(t)
	p, r := bench(t, `
config:
  target: "{{ $env.ARTILLERY_TEST_TARGET }}"
  ws: { subprotocols: [ two ], headers: { X-Test: "{{ word }}" } }
  variables: { word: hello, n: 3, rooms: [ [ red, blue ] ] }
  phases: [ { arrivalCount: 1 } ]
  ensure: { conditions: [ { expression: vusers.completed == 1 and rtt.max >= 0 and websocket.messages_sent == 17 } ] }
scenarios:
  - engine: ws
    flow:
      - connect: "{{ target }}/x"
      - send:
          payload: { deep: [ { id: "{{ word }}" } ] }
          capture: { json: "$.deep[0].id", as: id }
          match: { json: "$.deep.length", value: 1 }
      - loop:
          - send: "outer {{ $loopCount }}"
          - loop: [ { send: "inner {{ $loopCount }} {{ $loopElement }}" } ]
            over: rooms
          - send: "again {{ $loopCount }}"
        count: 2
      - loop: [ { send: { i: "{{ i }}" } } ]
        count: "{{ n }}"
        loopValue: i
      - loop: [ { send: "range {{ $loopCount }}" } ]
        count: "4-6"
      - think: 10 ms
      - send: "{{ id }}"
      - loop: [ { send: never } ]
        over: []
      - loop: [ { send: "{{ $loopCount }}" } ]
        count: 2`)
	if r.Users == nil || r.Users.Completed != 1 || len(r.Failures) > 0 {
		t.Fatalf("got %+v, errors %v and failures %q, want a user who completes", r.Users, r.Errors, r.Failures)
	}
	var want []string
	for _, l := range traceOf(t, p, 0, 0).lines {
		if strings.HasPrefix(l, "send ") {
			want = append(want, l)
		}
	}
	if got := s.heard()[0][1:]; !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := s.users[0][0], "connect /x two hello"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMatchFails checks that a reply that does not match fails the user, and with ensure also the run.
func TestMatchFails(t *testing.T) {
	newEcho(t)
	_, r := bench(t, `
config:
  target: "{{ $env.ARTILLERY_TEST_TARGET }}"
  phases: [ { arrivalCount: 2 } ]
  ensure: { maxErrorRate: 1 }
scenarios: [ { engine: ws, flow: [ { send: { payload: { a: 1 }, match: { json: $.a, value: 2 } } } ] } ]`)
	if r.Users == nil || r.Users.Failed != 2 {
		t.Errorf("got %+v, want 2 failed", r.Users)
	}
	want := []string{"maxErrorRate < 1: vusers.created is 2, vusers.completed is 0"}
	if !slices.Equal(r.Failures, want) {
		t.Errorf("got %q, want %q", r.Failures, want)
	}
}

// TestExamples checks that the scripts in examples compile, except the one that requires Node.js.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "load", "*.yml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("got %q and %v, want 3 scripts", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := refusal(t, "s.yml", string(b), "")
		want := "no error"
		if filepath.Base(file) == "artillery-rtt.yml" {
			want = "line 14, scenarios[0].flow[0].loop[0].function: functions of a processor are not supported: " +
				"Node.js is not available"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}
