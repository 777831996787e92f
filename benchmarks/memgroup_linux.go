package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryGroup is a memory cgroup, version 1 or 2, below the cgroup of this process. Creating one requires permission,
// usually root.
type memoryGroup struct {
	dir              string
	events, mostUsed string // file names
}

// newMemoryGroup creates a group with a limit in bytes.
func newMemoryGroup(limit int64) (*memoryGroup, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) { // for example "4:memory:/a/b" or "0::/a/b"
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		g, file := memoryGroup{events: "memory.oom_control", mostUsed: "memory.max_usage_in_bytes"}, "memory.limit_in_bytes"
		root := "/sys/fs/cgroup/memory"
		switch {
		case f[1] == "memory":
		case f[0] == "0":
			g, file = memoryGroup{events: "memory.events", mostUsed: "memory.peak"}, "memory.max"
			root = "/sys/fs/cgroup"
		default:
			continue
		}
		g.dir = filepath.Join(root, f[2], "expedite-tuning-"+strconv.Itoa(os.Getpid()))
		if os.Mkdir(g.dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(g.dir, "cgroup.procs")); err != nil { // not a cgroup file system
			_ = os.Remove(g.dir)
			continue
		}
		if err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.FormatInt(limit, 10)), 0o644); err == nil {
			return &g, nil
		}
		_ = os.Remove(g.dir)
	}
	return nil, errors.New("cannot create a memory cgroup below that of this process: run as root, or skip this factor")
}

// command returns a command that starts args in the group.
func (g *memoryGroup) command(args []string) *exec.Cmd {
	script := `echo $$ > "$0" && exec "$@"`
	return exec.Command("sh", append([]string{"-c", script, filepath.Join(g.dir, "cgroup.procs")}, args...)...)
}

// killed returns the number of processes that the kernel killed because the group ran out of memory.
func (g *memoryGroup) killed() (n float64) {
	f, err := os.Open(filepath.Join(g.dir, g.events))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "oom_kill %g", &n)
	}
	return n
}

// most returns the peak memory use of the group in bytes.
func (g *memoryGroup) most() float64 {
	b, err := os.ReadFile(filepath.Join(g.dir, g.mostUsed))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return n
}

// remove waits until the group is empty and removes it.
func (g *memoryGroup) remove() {
	for range 100 {
		if os.Remove(g.dir) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
