package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tally counts what a scenario costs apart from time, since the start of its processes.
type tally struct {
	waits, preempted [2]int // context switches of A and B: voluntary ones, and others
	reads, writes    int    // by Redis
}

// tally counts until now.
func (m *machines) tally(a, b *server) (t tally) {
	for i, s := range []*server{a, b} {
		t.waits[i], t.preempted[i] = switches(s.cmd.Process.Pid)
	}
	t.reads, t.writes = m.info("stats", "total_reads_processed"), m.info("stats", "total_writes_processed")
	return t
}

// print prints the difference to an earlier tally, per publication.
func (t tally) print(name string, from tally, publications uint64) {
	per := func(now, before int) float64 { return float64(now-before) / float64(publications) }
	fmt.Printf("    %s, per publication: context switches of A %.3f (preempted %.3f), of B %.3f (%.3f); "+
		"reads of Redis %.3f, writes %.3f\n", name, per(t.waits[0], from.waits[0]), per(t.preempted[0], from.preempted[0]),
		per(t.waits[1], from.waits[1]), per(t.preempted[1], from.preempted[1]),
		per(t.reads, from.reads), per(t.writes, from.writes))
}

// switches returns the context switches of all threads of a process.
func switches(pid int) (waits, preempted int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for line := range strings.Lines(string(b)) {
			var n int
			if _, err := fmt.Sscanf(line, "voluntary_ctxt_switches: %d", &n); err == nil {
				waits += n
			}
			if _, err := fmt.Sscanf(line, "nonvoluntary_ctxt_switches: %d", &n); err == nil {
				preempted += n
			}
		}
	}
	return waits, preempted
}
