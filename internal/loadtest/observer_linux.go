package loadtest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc: USER_HZ, which is 100 on all platforms of Go.
const clockTick = 10 * time.Millisecond

// processSet is some processes and all that they have started.
type processSet struct {
	roots []int
	seen  map[processID]time.Duration
	now   []int
}

// processID tells processes apart that had the same number one after the other.
type processID struct {
	pid   int
	start uint64
}

func (s *processSet) pids() []int { return s.now }

// look looks at all of them, those that are new only with find. What one that has ended had used still counts.
func (s *processSet) look(find bool) (u usage) {
	if s.seen == nil {
		s.seen = make(map[processID]time.Duration)
	}
	if find {
		table := readProcesses()
		s.now = s.now[:0]
		for pid := range table {
			if slices.Contains(s.roots, pid) || s.descends(table, pid) {
				s.now = append(s.now, pid)
			}
		}
		slices.Sort(s.now)
	}
	for _, pid := range s.now {
		if p, ok := readProcess(strconv.Itoa(pid)); ok {
			s.seen[processID{pid, p.start}] = p.cpu
			u.rss += memory(pid)
		}
	}
	for _, cpu := range s.seen {
		u.cpu += cpu
	}
	return u
}

// descends says whether a process was started by one of the roots.
func (s *processSet) descends(table map[int]process, pid int) bool {
	for range 64 {
		p, ok := table[pid]
		if !ok || p.parent <= 1 || p.parent == os.Getpid() {
			return false
		}
		if pid = p.parent; slices.Contains(s.roots, pid) {
			return true
		}
	}
	return false
}

type process struct {
	parent int
	start  uint64
	cpu    time.Duration
}

// readProcesses reads /proc.
func readProcesses() map[int]process {
	table := make(map[int]process)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return table
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(e.Name()); ok {
			table[pid] = p
		}
	}
	return table
}

func readProcess(pid string) (p process, ok bool) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return p, false
	}
	// The second field, the name in parentheses, may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return p, false
	}
	number := func(i int) uint64 { // fields of proc(5), counted from 1
		n, _ := strconv.ParseUint(string(fields[i-3]), 10, 64)
		return n
	}
	return process{
		parent: int(number(4)), start: number(22), cpu: time.Duration(number(14)+number(15)) * clockTick,
	}, true
}

// listenersOf finds the processes that listen where t is.
func listenersOf(t *target) (pids []int) {
	inodes := make(map[string]bool)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(file, t, inodes)
	}
	if len(inodes) == 0 {
		return nil
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || !inodes[to] {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pid != os.Getpid() && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listening adds the sockets of a table that listen at one of the addresses of t, or at all.
func listening(file string, t *target, inodes map[string]bool) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	const stateListen = "0A"
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		at, ok := parseHexAddr(fields[1])
		if !ok || at.Port() != t.port {
			continue
		}
		same := func(a netip.AddrPort) bool { return at.Addr().IsUnspecified() || a.Addr() == at.Addr() }
		if slices.ContainsFunc(t.remotes, same) {
			inodes[fmt.Sprintf("socket:[%s]", fields[9])] = true
		}
	}
}

// parseHexAddr reads 0100007F:1F90: words in the machine's order, of which all are little endian that have this.
func parseHexAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
