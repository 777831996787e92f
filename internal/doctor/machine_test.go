package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/doctor"
)

var update = flag.Bool("update", false, "write golden files anew")

// recorded reads a machine from testdata: a text whose parts are files, as in "-- proc/meminfo --".
func recorded(t *testing.T, name string) doctor.Machine {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "machines", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root, path := t.TempDir(), ""
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(line, "-- "); ok {
			path = filepath.Join(root, strings.TrimSuffix(p, " --\n"))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			line = ""
		}
		if path == "" {
			continue // the description of the machine
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return read(t, root, name)
}

func read(t *testing.T, root, name string) doctor.Machine {
	t.Helper()
	m, err := doctor.Read(root, doctor.Options{
		Env: func(string) string { return "" },
		Go:  &doctor.GoSettings{Processors: 2, MemoryLimit: doctor.Unlimited, Percent: 100},
		Synchronized: func() (bool, error) {
			if name == "nothing" {
				return false, errors.ErrUnsupported
			}
			return name != "small-vm", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// machines returns the names of all recorded machines.
func machines(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "machines", "*.txtar"))
	if err != nil || len(paths) < 9 {
		t.Fatalf("got %d machines, %v, want at least 9", len(paths), err)
	}
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".txtar"))
	}
	return names
}

// golden compares got with a file, or writes the file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i, line := range gotLines {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Errorf("%s:%d: got %q, want %q", name, i+1, line, strings.Join(wantLines[min(i, len(wantLines)):min(i+1,
				len(wantLines))], ""))
			return
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%s: got %d lines, want %d", name, len(gotLines), len(wantLines))
	}
}

// text returns the whole report for people.
func text(t *testing.T, r doctor.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("== banner\n" + strings.Join(r.Summary(), "\n") + "\n\n== text\n")
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n== sysctl\n")
	b.Write(r.Sysctl())
	return b.Bytes()
}

// TestGoldenText checks the reports for people about the recorded machines.
func TestGoldenText(t *testing.T) {
	for _, tt := range []struct {
		name, machine string
		want          doctor.Want
	}{
		{"bare-metal", "bare-metal", doctor.Want{}},
		{"bare-metal-3-million", "bare-metal", doctor.Want{Connections: 3_000_000}},
		{"container-512m", "container-512m", doctor.Want{}},
		{"container-512m-100-thousand", "container-512m", doctor.Want{Connections: 100_000}},
		{"cgroup-v1", "cgroup-v1", doctor.Want{}},
		{"small-vm", "small-vm", doctor.Want{}},
		{"small-vm-2-workers", "small-vm", doctor.Want{Workers: 2}},
		{"small-vm-a-million", "small-vm", doctor.Want{Connections: 1_000_000}},
		{"small-vm-a-million-2-workers", "small-vm", doctor.Want{Connections: 1_000_000, Workers: 2}},
		{"laptop", "laptop", doctor.Want{}},
		{"conntrack-full", "conntrack-full", doctor.Want{Connections: 20_000}},
		{"port-in-range", "port-in-range", doctor.Want{}},
		{"port-80", "laptop", doctor.Want{Connections: 100, Ports: []int{80}}},
		{"pod", "pod", doctor.Want{Connections: 1_500_000}},
		{"nothing", "nothing", doctor.Want{Connections: 1000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want.Ports == nil {
				tt.want.Ports = []int{8080}
			}
			golden(t, tt.name+".txt", text(t, doctor.Examine(recorded(t, tt.machine), tt.want)))
		})
	}
}

// TestGoldenJSON checks the fields that scripts rely on.
func TestGoldenJSON(t *testing.T) {
	for name, want := range map[string]doctor.Want{
		"small-vm": {Connections: 1_000_000, Ports: []int{8080}},
		"nothing":  {},
	} {
		b, err := json.MarshalIndent(doctor.Examine(recorded(t, name), want), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(b, '\n'))
	}
}

// TestZeroReport checks that lists are lists, and that nothing panics.
func TestZeroReport(t *testing.T) {
	got, err := json.Marshal(doctor.Report{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"findings":[]`, `"limits":[]`, `"bound_by":""`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	text(t, doctor.Report{})
	text(t, doctor.Examine(doctor.Machine{}, doctor.Want{}))
}

// TestFacts checks field by field what is read from recorded machines.
func TestFacts(t *testing.T) {
	vm, pod, v1 := recorded(t, "small-vm"), recorded(t, "pod"), recorded(t, "cgroup-v1")
	docker, laptop, nothing := recorded(t, "container-512m"), recorded(t, "laptop"), recorded(t, "nothing")
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"soft limit of open files", laptop.OpenFiles.Soft, int64(1024)},
		{"hard limit of open files", laptop.OpenFiles.Hard, int64(524288)},
		{"unlimited processes", docker.Processes.Soft, int64(doctor.Unlimited)},
		{"available memory", vm.Memory.Available, int64(24106680) << 10},
		{"cores that may be used", vm.CPU.Cores, 2},
		{"no quota", vm.CPU.Quota, 0.0},
		{"quota of version 1", v1.CPU.Quota, 0.5},
		{"quota of version 2", docker.CPU.Quota, 1.5},
		{"quota of the group around", pod.CPU.Quota, 4.0},
		{"unlimited groups limit nothing", len(vm.Cgroups), 0},
		{"memory.high counts", pod.Cgroups[0].Memory, int64(3 << 30)},
		{"the group around has its own", pod.Cgroups[1].Memory, int64(4 << 30)},
		{"files that can go do not count", docker.Cgroups[0].MemoryUsed, int64(13631488 - 6291456)},
		{"path of the host in a container", v1.Cgroups[0].Path, "/app"},
		{"tasks", docker.Cgroups[0].Tasks - docker.Cgroups[0].TasksUsed, int64(94)},
		{"docker by its file", docker.Container, "docker"},
		{"kubernetes by its groups", pod.Container, "kubernetes"},
		{"no container", laptop.Container, ""},
		{"user", laptop.User.ID, 1000},
		{"interfaces that are down do not count", len(laptop.Links), 1},
		{"an interface that tells no speed", laptop.Links[0].Mbit, int64(0)},
		{"huge pages", laptop.HugePages, "always"},
		{"clock source", vm.Clock.Source, "kvm-clock"},
		{"time-wait", vm.Sockets["TCP.tw"], int64(0)},
		{"an empty setting is readable", hasKey(vm.Sysctl, "net.ipv4.ip_local_reserved_ports"), true},
		{"a missing one is not", hasKey(nothing.Sysctl, "net.ipv4.ip_local_reserved_ports"), false},
		{"a user that does not show", nothing.User.ID, -1},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func hasKey(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

// TestThisMachine checks that the machine that runs the test can be examined.
func TestThisMachine(t *testing.T) {
	m, err := doctor.Read("", doctor.Options{})
	if runtime.GOOS != "linux" {
		if !errors.Is(err, doctor.ErrUnsupported) || !strings.Contains(err.Error(), runtime.GOOS) {
			t.Errorf("got %v, want ErrUnsupported that names %s", err, runtime.GOOS)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	r := doctor.Examine(m, doctor.Want{Ports: []int{8080}})
	if r.Capacity.Connections <= 0 || r.Capacity.BoundBy == "" || r.Capacity.Workers < 1 {
		t.Errorf("got %+v, want a capacity", r.Capacity)
	}
	if m.Go.Processors != runtime.GOMAXPROCS(0) {
		t.Errorf("processors: got %d, want %d", m.Go.Processors, runtime.GOMAXPROCS(0))
	}
	text(t, r)
}

// TestBrokenFiles checks that truncated files and nonsense are treated like missing files.
func TestBrokenFiles(t *testing.T) {
	names := machines(t)
	for _, content := range []string{
		"", "\n", "max", "-1\n", "x y z\n", "9999999999999999999999\n", ":::\n - \n[\n",
		"\x00\xff",
	} {
		root := t.TempDir()
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join("testdata", "machines", name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				p, ok := strings.CutPrefix(line, "-- ")
				path := filepath.Join(root, strings.TrimSuffix(p, " --\n"))
				if !ok {
					continue
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := read(t, root, "nothing")
		r := doctor.Examine(m, doctor.Want{Connections: 1000, Ports: []int{80}})
		if r.Capacity.BoundBy != "" && r.Capacity.Connections < 0 {
			t.Errorf("%q: got %+v, want no negative capacity", content, r.Capacity)
		}
		text(t, r)
	}
}

// TestPortsKeepTheirDigits checks that digits are grouped, but not those in addresses, ranges and paths.
func TestPortsKeepTheirDigits(t *testing.T) {
	up := func(context.Context) (map[string]string, error) {
		return map[string]string{"maxmemory": "0", "maxmemory_policy": "noeviction"}, nil
	}
	m := doctor.Machine{
		OpenFiles: &doctor.Range{Soft: 20_000, Hard: 20_000},
		Sysctl:    map[string]string{"net.ipv4.ip_local_port_range": "32768 60999"},
	}
	var b strings.Builder
	if err := doctor.Examine(m, doctor.Want{Redis: []doctor.Redis{{Address: "127.0.0.1:55845", Probe: up}}}).WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"127.0.0.1:55845", "20,000"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "32,768-") {
		t.Errorf("a range of ports is grouped in\n%s", b.String())
	}
}

// TestRedis checks that the server is asked once, for at most a second, and that its answer is judged.
func TestRedis(t *testing.T) {
	for _, tt := range []struct {
		name  string
		info  map[string]string
		err   error
		level doctor.Level
		says  string
	}{
		{"unreachable", nil, errors.New("connection refused"), doctor.LevelError, "connection refused"},
		{
			"keeps what it has",
			map[string]string{"maxmemory": "1073741824", "maxmemory_policy": "noeviction"},
			nil,
			doctor.LevelOK, "1.0 GiB",
		},
		{
			"throws sessions away",
			map[string]string{"maxmemory": "1000", "maxmemory_policy": "allkeys-lru"},
			nil,
			doctor.LevelWarn, "allkeys-lru",
		},
		{
			"throws away what has an end",
			map[string]string{"maxmemory": "1000", "maxmemory_policy": "volatile-lru"},
			nil, doctor.LevelWarn, "volatile-lru",
		},
		{
			"no limit",
			map[string]string{"maxmemory": "0", "maxmemory_policy": "noeviction"},
			nil, doctor.LevelInfo,
			"no maxmemory",
		},
		{"wants a password", map[string]string{}, nil, doctor.LevelInfo, "redis.example:6379 reachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			r := doctor.Examine(doctor.Machine{}, doctor.Want{Redis: []doctor.Redis{{
				Address: "redis.example:6379",
				Probe: func(ctx context.Context) (map[string]string, error) {
					asked++
					if _, ok := ctx.Deadline(); !ok {
						t.Error("the probe has no deadline")
					}
					return tt.info, tt.err
				},
			}}})
			f := finding(t, r, "redis")
			if f.Level != tt.level || !strings.Contains(f.Value, tt.says) || asked != 1 {
				t.Errorf("got %+v after %d questions, want %s with %q", f, asked, tt.level, tt.says)
			}
		})
	}
	for _, f := range doctor.Examine(doctor.Machine{}, doctor.Want{}).Findings {
		if f.Name == "redis" {
			t.Errorf("got %+v without a Redis", f)
		}
	}
}

func finding(t *testing.T, r doctor.Report, name string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %s", name)
	return doctor.Finding{}
}

// TestColor checks that only the words of levels are colored.
func TestColor(t *testing.T) {
	r := doctor.Examine(recorded(t, "cgroup-v1"), doctor.Want{Connections: 1e6})
	var plain, color bytes.Buffer
	if err := errors.Join(r.WriteText(&plain, false), r.WriteText(&color, true)); err != nil {
		t.Fatal(err)
	}
	got := color.String()
	for _, code := range []string{"1;31", "33", "36", "32", "0"} {
		got = strings.ReplaceAll(got, fmt.Sprintf("\x1b[%sm", code), "")
	}
	if got != plain.String() || color.Len() == plain.Len() {
		t.Errorf("got other text with colors:\n%s", got)
	}
}
