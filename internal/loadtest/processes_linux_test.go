package loadtest

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// forked returns a Config for several client processes, which execute this test binary.
func forked(t *testing.T, cfg Config) Config {
	t.Helper()
	b, err := json.Marshal(struct {
		Config
		Token, Progress, Plan *int // hide the fields that cannot be encoded
	}{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(workEnv, string(b))
	return cfg
}

// TestProcesses checks that the counts of thousands of clients in several processes are added up.
func TestProcesses(t *testing.T) {
	s := newSite(t)
	r := bench(t, forked(t, quick(Config{
		URL: s.url("/tags"), Connections: 2000, Ramp: time.Second, Mode: ModeEcho, Rate: 2, Duration: 2 * time.Second,
		Processes: 3,
	})))
	want(t, "opened", r.Connections.Opened, 2000)
	want(t, "peak", r.Connections.Peak, 2000)
	want(t, "failed", r.Connections.Failed, 0)
	want(t, "errors", len(r.Errors), 0)
	want(t, "unanswered", r.Messages.Unanswered, 0)
	want(t, "received", r.Messages.Received, r.Messages.Sent)
	want(t, "times", uint64(r.histogram.TotalCount()), r.Messages.Sent)
	want(t, "processes", r.Client.Processes, 3)
	s.locked(func() { want(t, "clients that were heard", len(s.tags), 2000) })
}

// TestBroadcastProcesses checks that clients in all processes receive every publication, from the first one on.
func TestBroadcastProcesses(t *testing.T) {
	s := newSite(t)
	r := bench(t, forked(t, quick(Config{
		URL: s.url("/room"), Connections: 60, Mode: ModeBroadcast, Rate: 50, Processes: 3,
	})))
	want(t, "delivered", r.Broadcast.Delivered, 60*r.Broadcast.Published)
	want(t, "missing", r.Broadcast.Missing, 0)
	if r.Broadcast.Published == 0 {
		t.Error("nothing was published")
	}
}

// TestStormProcesses checks that all processes take part in every storm.
func TestStormProcesses(t *testing.T) {
	s := newSite(t)
	r := bench(t, forked(t, quick(Config{
		URL: s.url("/echo"), Connections: 60, Mode: ModeStorm, Pause: 50 * time.Millisecond, Processes: 3,
		Duration: 3 * time.Second,
	})))
	if len(r.Storms) == 0 {
		t.Fatal("no storm")
	}
	want(t, "opened", r.Connections.Opened, 60*uint64(len(r.Storms)+1))
}

// TestProcessDies checks that the death of a client process is reported and the others continue.
func TestProcessDies(t *testing.T) {
	s := newSite(t)
	cfg := forked(t, quick(Config{URL: s.url("/echo"), Connections: 30, Duration: 3500 * time.Millisecond, Processes: 3}))
	kill := sync.OnceFunc(func() {
		if pid := child(t); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			t.Error("no client process to kill")
		}
	})
	cfg.Progress = func(Progress) { kill() }
	r := bench(t, cfg)
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "died: signal: killed") {
		t.Errorf("failures: got %q, want one process that was killed", r.Failures)
	}
	if !slices.ContainsFunc(r.Timeline, func(p Point) bool { return p.Open == 20 }) {
		t.Errorf("open after it died: got %+v, want 20", r.Timeline)
	}
}

// child returns the pid of a child of this process, or 0 if there is none.
func child(t *testing.T) int {
	t.Helper()
	for pid, p := range readProcesses() {
		if p.parent == os.Getpid() {
			return pid
		}
	}
	return 0
}

// TestObserver checks that a server in another process is found by its port, and that its children count.
func TestObserver(t *testing.T) {
	s := newSite(t)
	target, err := parseTarget(s.url("/echo"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{}.withDefaults()
	if err := target.resolve(t.Context(), &cfg); err != nil {
		t.Fatal(err)
	}
	// listenersOf skips this process, which is the server here; look for its socket directly.
	inodes := make(map[string]bool)
	listening("/proc/net/tcp", target, inodes)
	want(t, "listening sockets", len(inodes), 1)
	want(t, "other processes that listen", len(listenersOf(target)), 0)
	o := observe(target, os.Getpid())
	if o == nil {
		t.Fatal("a process that was named was not found")
	}
	o.look(10)
	r := o.report()
	want(t, "processes", r.PIDs[0] > 0, true)
	if r.RSSBytes < 1<<20 {
		t.Errorf("memory: got %d", r.RSSBytes)
	}
	if observe(target, -1) != nil || observe(nil, 0) != nil {
		t.Error("something was observed that nobody asked for")
	}
	if a, ok := parseHexAddr("0100007F:1F90"); !ok || a.String() != "127.0.0.1:8080" {
		t.Errorf("got %v", a)
	}
	if a, ok := parseHexAddr("00000000000000000000000001000000:1F90"); !ok || a.String() != "[::1]:8080" {
		t.Errorf("got %v", a)
	}
	if _, ok := parseHexAddr("01:" + strconv.Itoa(1<<20)); ok {
		t.Error("got an address of nonsense")
	}
}
