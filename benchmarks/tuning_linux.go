package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// factor is one of the four factors that limit what a machine can serve, with the settings to compare.
type factor struct {
	name    string
	load    []string // arguments of `expedite bench` after the address
	path    string
	trials  []trial
	columns []string
	limit   int64 // memory limit in bytes for a cgroup of the server; 0 means no cgroup
}

// trial is a server with one setting.
type trial struct {
	name   string
	server []string // arguments of `expedite serve`, or of the role tuning-server
	own    bool     // runs the role tuning-server
}

// column formats one figure of a run.
type column struct {
	format string
	value  func(*benchReport) float64
}

// benchReport is the part of `expedite bench --json` that the benchmark uses, and the figures of the server's cgroup.
type benchReport struct {
	Connections struct {
		Opened, Failed, Peak float64
		Closed               map[string]float64
	}
	Messages struct {
		Received      float64
		BytesReceived float64 `json:"bytes_received"`
		PerSecond     float64 `json:"received_per_second"`
	}
	Errors map[string]float64
	Server struct {
		CPU      float64 `json:"cpu_seconds"`
		Resident float64 `json:"rss_bytes"`
	}
	killed float64 // server processes killed by the kernel
	group  float64 // peak memory of the group in bytes
}

// refused returns the number of clients that were refused with status 503.
func (r *benchReport) refused() (sum float64) {
	for cause, n := range r.Errors {
		if strings.HasPrefix(cause, "http 503") {
			sum += n
		}
	}
	return sum
}

// columns maps the column names of the tables to figures of a run.
var columns = map[string]column{
	"server CPU per message": {"%.1f µs", func(r *benchReport) float64 {
		return 1e6 * r.Server.CPU / r.Messages.Received
	}},
	"messages/s": {"%.0f", func(r *benchReport) float64 { return r.Messages.PerSecond }},
	"resident":   {"%.0f MiB", func(r *benchReport) float64 { return r.Server.Resident / (1 << 20) }},
	"received": {"%.1f MiB/s", func(r *benchReport) float64 {
		return r.Messages.BytesReceived / r.Messages.Received * r.Messages.PerSecond / (1 << 20)
	}},
	"opened":           {"%.0f", func(r *benchReport) float64 { return r.Connections.Opened }},
	"refused with 503": {"%.0f", (*benchReport).refused},
	"failed otherwise": {"%.0f", func(r *benchReport) float64 { return r.Connections.Failed - r.refused() }},
	"lost": {"%.0f", func(r *benchReport) (sum float64) {
		for n := range maps.Values(r.Connections.Closed) {
			sum += n
		}
		return sum
	}},
	"killed":                   {"%.0f", func(r *benchReport) float64 { return r.killed }},
	"most that the group used": {"%.0f MiB", func(r *benchReport) float64 { return r.group / (1 << 20) }},
}

// factors lists the sections of docs/tuning.md.
var factors = []factor{
	{
		name: "heap", path: "/", columns: []string{"server CPU per message", "messages/s", "resident"},
		load: []string{"--mode", "echo", "--rate", "0", "-c", "10000", "--ramp", "5000/s", "--size", "2KiB"},
		trials: []trial{
			{"GOGC=50", []string{"-gogc", "50"}, true},
			{"GOGC=100", []string{"-gogc", "100"}, true},
			{"GOGC=400", []string{"-gogc", "400"}, true},
			{"GOGC off, memory 256MiB", []string{"-gogc", "-1", "-memory", "256MiB"}, true},
			{"GOGC=100, memory 48MiB", []string{"-gogc", "100", "-memory", "48MiB"}, true},
		},
	},
	{
		name: "cores", path: "/echo", columns: []string{"server CPU per message", "messages/s"},
		load: []string{"--mode", "echo", "--rate", "0", "-c", "100", "--ramp", "1s", "--size", "20"},
		trials: []trial{
			{"--workers 1 --procs 1", []string{"--workers", "1", "--procs", "1"}, false},
			{"--workers 1 --procs 2", []string{"--workers", "1", "--procs", "2"}, false},
			{"--workers 1 --procs 4", []string{"--workers", "1", "--procs", "4"}, false},
			{"--workers 2", []string{"--workers", "2"}, false},
		},
	},
	{
		name: "ram", path: "/", limit: 192 << 20,
		columns: []string{"opened", "refused with 503", "failed otherwise", "lost", "killed", "most that the group used"},
		load:    []string{"--mode", "idle", "-c", "19000", "--ramp", "4000/s"},
		trials: []trial{
			{"reserve of 64 MiB", []string{"-reserve", "64MiB", "-keep", "10240"}, true},
			{"no reserve", []string{"-reserve", "off", "-keep", "10240"}, true},
		},
	},
	{
		name: "bandwidth", path: "/echo", columns: []string{"received"},
		load: []string{"--mode", "echo", "--rate", "0", "-c", "4", "--ramp", "1s", "--size", "64KiB"},
		trials: []trial{
			{"no bound", nil, false},
			{"--conn-rate-out 4MiB", []string{"--conn-rate-out", "4MiB"}, false},
			{"--conn-rate-in 1MiB", []string{"--conn-rate-in", "1MiB"}, false},
			{"--rate-out 8MiB", []string{"--workers", "1", "--rate-out", "8MiB"}, false},
		},
	},
}

// runTuning compares the settings with `expedite bench`, each within minutes of the others.
func runTuning(args []string) error {
	flags := flag.NewFlagSet("tuning", flag.ExitOnError)
	rounds := flags.Int("rounds", 3, "rounds of each setting")
	length := flags.Duration("time", 4*time.Second, "length of a round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tuning")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &tuningBench{dir: dir, command: filepath.Join(dir, "expedite"), length: *length}
	build := exec.Command("go", "build", "-C", "..", "-o", b.command, "./cmd/expedite") // separate module
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	wanted := flags.Args()
	for _, f := range factors {
		if len(wanted) > 0 && !slices.Contains(wanted, f.name) {
			continue
		}
		if err := b.compare(f, *rounds); err != nil {
			return fmt.Errorf("tuning: %s: %w", f.name, err)
		}
	}
	return nil
}

// tuningBench is a run of the tuning benchmark.
type tuningBench struct {
	dir, command string
	length       time.Duration
}

// compare prints the table of a factor: medians over rounds in which the settings alternate.
func (b *tuningBench) compare(f factor, rounds int) error {
	reports := make([][]*benchReport, len(f.trials))
	for round := range rounds {
		for i, t := range f.trials {
			fmt.Fprintf(os.Stderr, "%s, round %d of %d: %s\n", f.name, round+1, rounds, t.name)
			r, err := b.try(f, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			reports[i] = append(reports[i], r)
		}
	}
	fmt.Printf("## %s: `expedite bench %s`\n\n| |", f.name, strings.Join(f.load, " "))
	for _, name := range f.columns {
		fmt.Printf(" %s |", name)
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("---|", len(f.columns)))
	for i, t := range f.trials {
		fmt.Printf("| %s |", t.name)
		for _, name := range f.columns {
			c := columns[name]
			var values []float64
			for _, r := range reports[i] {
				values = append(values, c.value(r))
			}
			fmt.Printf(" "+c.format+" |", median(values))
		}
		fmt.Println()
	}
	fmt.Println()
	return nil
}

// try runs the load against a server with one setting.
func (b *tuningBench) try(f factor, t trial) (*benchReport, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	control := filepath.Join(b.dir, "c")
	server := append([]string{self, "tuning-server", "-control", control}, t.server...)
	if !t.own {
		server = append([]string{
			b.command, "serve", "--addr", "127.0.0.1:0", "--admin", "off", "--control", control,
			"--log-level", "error", "--ping-interval", "0s", "--idle-timeout", "0s",
		}, t.server...)
	}
	cmd := exec.Command(server[0], server[1:]...)
	var g *memoryGroup
	if f.limit > 0 {
		if g, err = newMemoryGroup(f.limit); err != nil {
			return nil, err
		}
		defer g.remove()
		cmd = g.command(server)
	}
	cmd.Dir = b.dir
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-ended
	}()
	addr, err := b.address(control, ended)
	if err != nil {
		return nil, err
	}
	args := append([]string{"bench", "ws://" + addr + f.path, "--json", "--duration", b.length.String()}, f.load...)
	ctx, cancel := context.WithTimeout(context.Background(), b.length+2*time.Minute)
	defer cancel()
	bench := exec.CommandContext(ctx, b.command, args...)
	var progress bytes.Buffer
	bench.Stderr = &progress
	out, err := bench.Output()
	r := &benchReport{}
	if jsonErr := json.Unmarshal(out, r); jsonErr != nil { // if there is a report, it contains the failures
		return nil, fmt.Errorf("%w: %v: %s", jsonErr, err, progress.String())
	}
	if g != nil {
		r.killed, r.group = g.killed(), g.most()
	}
	return r, nil
}

// address waits until the server runs and returns its address.
func (b *tuningBench) address(control string, ended <-chan struct{}) (string, error) {
	for range 300 {
		out, err := exec.Command(b.command, "status", "--json", "--control", control).Output()
		var st status
		if err == nil && json.Unmarshal(out, &st) == nil && len(st.Addresses) > 0 {
			return st.Addresses[0], nil
		}
		select {
		case <-ended:
			return "", fmt.Errorf("the server has ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("the server did not start in time")
}
