package view

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// example returns a status with everything in it: the one whose JSON is a contract.
func example(t *testing.T) (s control.Status) {
	t.Helper()
	b, err := os.ReadFile("../control/testdata/status.json")
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// golden compares got with a file, or writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (UPDATE_GOLDEN=1 writes it)\n%s", got, want)
	}
}

// TestServing: addresses tell how clients begin there.
func TestServing(t *testing.T) {
	for want, l := range map[string]control.ListenerStatus{
		":80":                      {Address: ":80"},
		":443 (TLS)":               {Address: ":443", TLS: true},
		"unix:/a (PROXY protocol)": {Address: "/a", Network: "unix", Proxy: true},
		":5 (PROXY protocol, TLS)": {Address: ":5", Proxy: true, TLS: true},
	} {
		if got := serving(control.Status{Listeners: []control.ListenerStatus{l}}); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStatusText(t *testing.T) {
	one := example(t)
	one.Workers, one.Totals, one.Handoff = one.Workers[:1], control.Totals{Connections: 12034}, control.Handoff{}
	one.Generation, one.Rolling, one.Auth, one.Degraded = 1, nil, "", nil
	one.TLS = &control.TLSStatus{Automatic: []control.CertificateStatus{
		{Domain: "good.test", Expires: "2027-01-02T15:04:05Z", Next: "2026-12-02T15:04:05Z"},
		{Domain: "new.test", Failures: 2, Next: "2026-01-02T15:04:05Z", Cause: "no\x1bway"},
		{Domain: "old.test", Failures: 1, Next: "2026-01-02T15:04:05Z", Expires: "2026-01-03T15:04:05Z", Cause: "no"},
	}}
	one.Sessions = &control.SessionStatus{Store: "memory", Sessions: new(int64(3)), Connected: new(int64(2))}
	one.Revocations = &control.RevocationStatus{Current: true}
	one.Backplane = &control.BackplaneStatus{
		Kind: "redis", Cause: "connection refused", Topics: 3, Events: map[string]uint64{"gaps": 1, "missed": 12},
	}
	for name, st := range map[string]control.Status{"status.txt": example(t), "one.txt": one, "empty.txt": {}} {
		var b strings.Builder
		if err := Status(&b, st); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

func TestOperation(t *testing.T) {
	for want, p := range map[string]control.Progress{
		"reload: slot 2 of 4, moving, 812 moved, 120 left": {Slot: 2, Slots: 4, Step: control.StepMoving, Moved: 812, Left: 120},
		"reload: replacing the primary":                    {Slots: 4, Step: control.StepReplacing},
		"rebalance: moving, 1 moved, 0 left":               {Kind: "rebalance", Slots: 4, Step: control.StepMoving, Moved: 1},
	} {
		if got := operation(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSessions(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for name, l := range map[string]control.SessionList{
		"sessions.txt": {Store: "redis", Degraded: true, More: true, Sessions: []control.Session{
			{
				ID: "0123456789abcdef0123456789abcdef", User: "alice", Created: now.Add(-26 * time.Hour), Seen: now.Add(-5 * time.Second),
				Connected: true, Conn: "00ab", Node: "n1", Params: map[string]string{"v": "1.2", "device": "phone"},
			},
			{ID: "fedc", Created: now, Seen: now, Conn: "00cd", Node: "n2"},
			{ID: "\x1b[2J", User: strings.Repeat("ü", 50), Params: map[string]string{"a b": "\x1b[31m\n"}},
		}},
		"nosessions.txt": {Store: "memory"},
	} {
		var b strings.Builder
		if err := Sessions(&b, l, now); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
		if strings.ContainsAny(b.String(), "\x1b\r\t") {
			t.Errorf("%s: text of a client controls the terminal: %q", name, b.String())
		}
	}
}

// TestNodesText: each machine has a row, and what is missing is told below.
func TestNodesText(t *testing.T) {
	st := control.Status{
		NodesCause: "it is not known\nwhich",
		Nodes: []control.NodeStatus{
			{
				Node: "00000000000000a1", Host: "one", PID: 11, Version: "v1", Addresses: []string{"10.0.0.1:80", "unix:/s"},
				Workers: 2, Connections: 120, Status: &control.Status{UptimeSeconds: 4000, Degraded: []string{"redis"}},
			},
			{
				Node: "00000000000000b2", Host: "two\x1b[1m", PID: 12, Version: "v1", Addresses: []string{"10.0.0.2:80"},
				Workers: 4, Connections: 7, Missing: "it has not answered",
			},
			{Node: "00000000000000c3", Host: "three", PID: 13, Version: "v2", Status: &control.Status{UptimeSeconds: 5}},
		},
	}
	var b strings.Builder
	if err := Nodes(&b, st); err != nil {
		t.Fatal(err)
	}
	golden(t, "nodes.txt", b.String())
	st.Nodes = st.Nodes[2:]
	if b.Reset(); Nodes(&b, st) != nil || strings.Contains(b.String(), "total") {
		t.Errorf("got\n%s\nwant no totals of one machine", b.String())
	}
}
