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

// processSet is a set of processes and all of their descendants.
type processSet struct {
	roots []int
	seen  map[processID]time.Duration
	now   []int
}

// processID tells processes apart that had the same number at different times.
type processID struct {
	pid   int
	start uint64
}

func (s *processSet) pids() []int { return s.now }

// look measures all processes. It searches for new ones only if find is set. The CPU time of processes that have ended
// still counts.
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

// descends reports whether a process is a descendant of one of the roots.
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

// readProcesses reads all processes from /proc.
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
	// The second field, the name in parentheses, may contain spaces and parentheses.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return p, false
	}
	number := func(i int) uint64 { // fields are numbered from 1, as in proc(5)
		n, _ := strconv.ParseUint(string(fields[i-3]), 10, 64)
		return n
	}
	return process{
		parent: int(number(4)), start: number(22), cpu: time.Duration(number(14)+number(15)) * clockTick,
	}, true
}

// listenersOf returns the processes that listen at the addresses of t.
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

// listening adds to inodes the sockets in a table of /proc/net that listen at an address of t, or at all addresses.
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

// parseHexAddr parses an address like 0100007F:1F90. The address consists of words in the byte order of the machine,
// which is little endian on all supported platforms.
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
