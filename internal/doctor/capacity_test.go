package doctor_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/internal/doctor"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// files returns a limit of open files.
func files(n int64) *doctor.Range { return &doctor.Range{Soft: n, Hard: n} }

// memory returns a machine of which all memory is available; 1/20 is kept free.
func memory(n int64) *doctor.Memory { return &doctor.Memory{Total: n, Available: n} }

// TestArithmetic checks each limit against its formula, computed by hand.
func TestArithmetic(t *testing.T) {
	limit := func(path string, bytes, used int64) doctor.Cgroup {
		return doctor.Cgroup{Path: path, Memory: bytes, MemoryUsed: used, MemoryKnown: true}
	}
	for _, tt := range []struct {
		name    string
		machine doctor.Machine
		want    doctor.Want
		holds   int64
		workers int
		bound   string
	}{
		{"nothing is known", doctor.Machine{}, doctor.Want{}, 0, 1, ""},
		{
			"descriptors but 64, for each worker",
			doctor.Machine{OpenFiles: files(20_000)},
			doctor.Want{Workers: 2},
			2 * 19_936, 2, "open-files",
		},
		{
			"no more descriptors than a worker needs",
			doctor.Machine{OpenFiles: files(60)},
			doctor.Want{},
			0, 1,
			"open-files",
		},
		{
			"the hard limit counts: Go raises the soft one",
			doctor.Machine{OpenFiles: &doctor.Range{Soft: 1024, Hard: 4096}},
			doctor.Want{Workers: 1},
			4032, 1, "open-files",
		},
		{
			"nr_open is the most",
			doctor.Machine{OpenFiles: files(doctor.Unlimited), Sysctl: map[string]string{"fs.nr_open": "1000"}},
			doctor.Want{Workers: 3},
			3 * 936, 3, "open-files",
		},
		{
			// 8 GiB - 1/20 - 24 MiB - 3 x 12 MiB = 8,097,523,303; divided by 5,120 + 1,200 x 3/2.
			"memory with two workers",
			doctor.Machine{Memory: memory(8 * gib)},
			doctor.Want{Workers: 2},
			1_170_162, 2, "memory",
		},
		{
			// The same, divided by 5,120 + 6,000 x 3/2.
			"memory of larger connections",
			doctor.Machine{Memory: memory(8 * gib)},
			doctor.Want{Workers: 2, BytesPerConnection: 6000},
			573_478, 2, "memory",
		},
		{
			"memory that is not enough for the workers",
			doctor.Machine{Memory: memory(40 * mib)},
			doctor.Want{},
			0, 1,
			"memory",
		},
		{
			// 512 MiB - 1/20 - 12 MiB - 24 MiB - 2 x 12 MiB = 447,111,988; divided by 5,120 + 1,200 x 2.
			"a cgroup, less what it uses",
			doctor.Machine{Memory: memory(64 * gib), Cgroups: []doctor.Cgroup{limit("/a", 512*mib, 12*mib)}},
			doctor.Want{},
			59_456, 1, "cgroup-memory",
		},
		{
			"the tightest cgroup counts",
			doctor.Machine{
				Cgroups: []doctor.Cgroup{limit("/a/b", 8*gib, 0), limit("/a", 512*mib, 12*mib), limit("/", 1*gib, 0)},
			},
			doctor.Want{},
			59_456, 1, "cgroup-memory",
		},
		{
			// 1 GiB - 1/20 - 24 MiB - 9 x 12 MiB = 881,642,701; divided by 5,120 + 1,200 x 9/8.
			"a worker per core",
			doctor.Machine{OpenFiles: files(1_000_000), Memory: memory(gib), CPU: doctor.CPU{Cores: 8}},
			doctor.Want{},
			136_266, 8, "memory",
		},
		{
			// 1 GiB - 1/20 - 24 MiB - 3 x 12 MiB = 957,140,173; divided by 5,120 + 1,200 x 3/2.
			"a quota is that many cores",
			doctor.Machine{
				OpenFiles: files(1_000_000), Memory: memory(gib), CPU: doctor.CPU{Cores: 8, Quota: 1.5},
			},
			doctor.Want{},
			138_315, 2, "memory",
		},
		{
			// 12 workers have descriptors for 120,000 connections; 13 for 130,000, but only 818,728,141 bytes for 5,120
			// + 1,200 x 14/13 each.
			"as many workers as the memory takes",
			doctor.Machine{OpenFiles: files(10_064), Memory: memory(gib)},
			doctor.Want{},
			127_680, 13, "memory",
		},
		{
			"file-max, less what is open",
			doctor.Machine{Sysctl: map[string]string{"fs.file-max": "100000", "fs.file-nr": "4000 0 100000"}},
			doctor.Want{Workers: 10},
			100_000 - 4000 - 640, 10, "file-max",
		},
		{
			"file-max does not bind root",
			doctor.Machine{
				OpenFiles: files(1064), Sysctl: map[string]string{"fs.file-max": "500"},
				User: doctor.User{Capabilities: 1 << 21},
			},
			doctor.Want{Workers: 1},
			1000, 1, "open-files",
		},
		{
			"but that of a user namespace",
			doctor.Machine{
				OpenFiles: files(1064), Sysctl: map[string]string{"fs.file-max": "500"},
				User: doctor.User{Capabilities: 1 << 21, Mapped: true},
			},
			doctor.Want{Workers: 1},
			500 - 64, 1, "file-max",
		},
		{
			"a page for one in ten",
			doctor.Machine{Sysctl: map[string]string{"net.ipv4.tcp_mem": "10 20 30"}},
			doctor.Want{},
			300, 1, "tcp-mem",
		},
		{
			"what is left of a table that is used",
			doctor.Machine{
				Sysctl: map[string]string{
					"net.netfilter.nf_conntrack_max":   "65536",
					"net.netfilter.nf_conntrack_count": "60000",
				},
			},
			doctor.Want{},
			5536, 1, "conntrack",
		},
		{
			"a table that is not used is no limit",
			doctor.Machine{
				OpenFiles: files(1064),
				Sysctl: map[string]string{
					"net.netfilter.nf_conntrack_max":   "10",
					"net.netfilter.nf_conntrack_count": "0",
				},
			},
			doctor.Want{Workers: 1},
			1000, 1, "open-files",
		},
		{
			// Of 100 tasks the primary takes 16, and each worker 10 on a machine with two cores; one worker is being
			// replaced.
			"tasks bound the workers",
			doctor.Machine{
				OpenFiles: files(1064), CPU: doctor.CPU{Cores: 2}, Cgroups: []doctor.Cgroup{{
					Tasks: 110, TasksUsed: 10,
					TasksKnown: true,
				}},
			},
			doctor.Want{},
			7000, 7, "open-files",
		},
		{
			"and more of them than there can be",
			doctor.Machine{
				OpenFiles: files(1064), CPU: doctor.CPU{Cores: 2}, Cgroups: []doctor.Cgroup{{
					Tasks: 110, TasksUsed: 10,
					TasksKnown: true,
				}},
			},
			doctor.Want{Workers: 20},
			7000, 20, "processes",
		},
		{
			"the primary has 6 descriptors for each worker",
			doctor.Machine{OpenFiles: files(124)},
			doctor.Want{},
			10 * 60, 10, "open-files",
		},
		{
			"at most 1000 workers",
			doctor.Machine{OpenFiles: files(10_000)},
			doctor.Want{},
			1000 * 9936, 1000,
			"open-files",
		},
		{
			"nonsense is clamped",
			doctor.Machine{OpenFiles: files(1064)},
			doctor.Want{Connections: -5, Workers: 1 << 40, BytesPerConnection: -1},
			1000 * 1000, 1000, "open-files",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := doctor.Examine(tt.machine, tt.want).Capacity
			if got.Connections != tt.holds || got.Workers != tt.workers || got.BoundBy != tt.bound {
				t.Errorf("got %d with %d workers, bound by %q, want %d with %d, %q",
					got.Connections, got.Workers, got.BoundBy, tt.holds, tt.workers, tt.bound)
			}
		})
	}
}

// machine draws a machine with some facts missing.
func machine(t *rapid.T) doctor.Machine {
	m := doctor.Machine{Sysctl: map[string]string{}, Sockets: map[string]int64{}}
	some := func(what string) bool { return rapid.IntRange(0, 3).Draw(t, what+"?") > 0 }
	number := func(what string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, what) }
	set := func(key string, most int64) {
		if some(key) {
			m.Sysctl[key] = fmt.Sprint(number(key, most))
		}
	}
	if some("files") {
		m.OpenFiles = &doctor.Range{Soft: number("soft", 2000), Hard: number("hard", 2_000_000)}
	}
	if some("memory") {
		total := number("total", 1<<40)
		m.Memory = &doctor.Memory{Total: total, Available: number("available", total)}
	}
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		g := doctor.Cgroup{Path: "/g", MemoryKnown: some("memory of a group"), TasksKnown: some("tasks")}
		g.Memory, g.Tasks = number("limit", 1<<40), number("tasks", 10_000)
		g.MemoryUsed, g.TasksUsed = number("used", g.Memory), number("tasks used", g.Tasks)
		m.Cgroups = append(m.Cgroups, g)
	}
	set("fs.file-max", 1<<40)
	set("fs.file-nr", 1<<20)
	set("fs.nr_open", 1<<21)
	set("net.netfilter.nf_conntrack_max", 1<<22)
	set("net.netfilter.nf_conntrack_count", 1<<22)
	set("net.core.somaxconn", 1<<16)
	set("kernel.pid_max", 1<<22)
	if some("tcp_mem") {
		m.Sysctl["net.ipv4.tcp_mem"] = fmt.Sprintf("1 2 %d", number("pages", 1<<30))
	}
	m.CPU.Cores = rapid.IntRange(0, 256).Draw(t, "cores")
	m.CPU.Quota = rapid.Float64Range(0, 300).Draw(t, "quota")
	return m
}

func want(t *rapid.T) doctor.Want {
	return doctor.Want{
		Connections:        rapid.IntRange(0, 20_000_000).Draw(t, "connections"),
		Workers:            rapid.SampledFrom([]int{0, 0, 1, 2, 64, 1000}).Draw(t, "workers"),
		BytesPerConnection: rapid.SampledFrom([]int{0, 400, 100_000}).Draw(t, "bytes"),
	}
}

// TestBoundByIsTheMinimum checks that the capacity is the lowest of all limits, that no other number of workers is
// better, and that there is an error exactly if the requested connections do not fit.
func TestBoundByIsTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := machine(t), want(t)
		r := doctor.Examine(m, w)
		c := r.Capacity
		if len(c.Limits) == 0 {
			if c.BoundBy != "" || c.Connections != 0 {
				t.Fatalf("got %+v without a limit", c)
			}
			return
		}
		least := c.Limits[0]
		for _, l := range c.Limits {
			if l.Connections < least.Connections {
				least = l
			}
		}
		if c.Connections != least.Connections || c.BoundBy != least.Name || c.Connections < 0 {
			t.Fatalf("got %d bound by %s, want %+v", c.Connections, c.BoundBy, least)
		}
		if w.Workers > 0 {
			if c.Workers != w.Workers {
				t.Fatalf("got %d workers, want %d", c.Workers, w.Workers)
			}
		} else if w.Workers = rapid.IntRange(1, c.Workers).Draw(t, "fewer"); c.Workers > max(m.CPU.Cores, 1) {
			if fewer := doctor.Examine(m, w).Capacity; fewer.Connections > c.Connections {
				t.Fatalf("%d workers hold %d, chosen are %d, which hold %d", w.Workers, fewer.Connections, c.Workers,
					c.Connections)
			}
		}
		for _, f := range r.Findings {
			if f.Level == doctor.LevelError && w.Connections == 0 && f.Name != "processes" {
				t.Fatalf("got %+v, although nobody asked for a number", f)
			}
		}
	})
}

// TestErrorsAreShortages checks that exactly the limits below the requested number are errors. The number of workers is
// given: the report says what more of them would do.
func TestErrorsAreShortages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, w := machine(t), want(t)
		w.Connections++
		w.Workers = max(w.Workers, 1)
		r := doctor.Examine(m, w)
		bad := map[string]bool{}
		for _, f := range r.Findings {
			bad[f.Name] = f.Level == doctor.LevelError
		}
		for _, l := range r.Capacity.Limits {
			if short := l.Connections < int64(w.Connections); short != bad[l.Name] && l.Name != "processes" {
				t.Fatalf("%+v, %d wanted: got an error %v, want %v", l, w.Connections, bad[l.Name], short)
			}
		}
	})
}

// TestMoreIsNotLess checks that a machine that gets more of anything does not hold less.
func TestMoreIsNotLess(t *testing.T) {
	more := map[string]func(*rapid.T, *doctor.Machine){
		"memory": func(t *rapid.T, m *doctor.Machine) {
			if m.Memory != nil {
				add := rapid.Int64Range(0, 1<<36).Draw(t, "more")
				m.Memory = &doctor.Memory{Total: m.Memory.Total + add, Available: m.Memory.Available + add}
			}
			for i := range m.Cgroups {
				m.Cgroups[i].Memory += rapid.Int64Range(0, 1<<36).Draw(t, "more")
			}
		},
		"descriptors": func(t *rapid.T, m *doctor.Machine) {
			if m.OpenFiles != nil {
				m.OpenFiles = files(m.OpenFiles.Hard + rapid.Int64Range(0, 100_000).Draw(t, "more"))
			}
		},
		"pages": func(_ *rapid.T, m *doctor.Machine) {
			if s, ok := m.Sysctl["net.ipv4.tcp_mem"]; ok {
				m.Sysctl["net.ipv4.tcp_mem"] = s + "0"
			}
		},
		"entries": func(_ *rapid.T, m *doctor.Machine) {
			if s, ok := m.Sysctl["net.netfilter.nf_conntrack_max"]; ok {
				m.Sysctl["net.netfilter.nf_conntrack_max"] = s + "0"
			}
		},
	}
	for name, add := range more {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m, w := machine(t), want(t)
				before := doctor.Examine(m, w).Capacity
				add(t, &m)
				if after := doctor.Examine(m, w).Capacity; after.Connections < before.Connections {
					t.Fatalf("got %d with %d workers after %d with %d", after.Connections, after.Workers,
						before.Connections, before.Workers)
				}
			})
		})
	}
}

// TestMended checks that a machine with all remedies of the findings holds the requested connections.
func TestMended(t *testing.T) {
	m := recorded(t, "pod")
	w := doctor.Want{Connections: 1_500_000, Ports: []int{8080}}
	r := doctor.Examine(m, w)
	for line := range strings.Lines(string(r.Sysctl())) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && key[0] != '#' {
			m.Sysctl[key] = value
		}
	}
	m.Cgroups = nil // "resources.limits.memory: 9943Mi" of 62 GiB
	r = doctor.Examine(m, w)
	for _, f := range r.Findings {
		if f.Level == doctor.LevelError || f.Level == doctor.LevelWarn {
			t.Errorf("still %+v", f)
		}
	}
	if !r.OK() || r.Capacity.Connections < 1_500_000 {
		t.Errorf("got %+v, want 1,500,000", r.Capacity)
	}
}
