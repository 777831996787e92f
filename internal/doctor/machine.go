package doctor

import (
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/human"
)

// Unlimited is the value of a limit that does not exist.
const Unlimited = math.MaxInt64

// Machine is what is known about a machine and about the process that examines it. What was not readable is absent: a
// missing key, a nil pointer, an empty string.
type Machine struct {
	Kernel    string            // release, like 6.12.4
	Container string            // docker, podman, kubernetes, lxc or container; empty: none was detected
	Sysctl    map[string]string // by dotted name, as the kernel prints them
	OpenFiles *Range            // RLIMIT_NOFILE of this process
	Processes *Range            // RLIMIT_NPROC of this process
	Memory    *Memory           // of the machine, not of a container
	Cgroups   []Cgroup          // of this process that have limits, from the innermost
	CPU       CPU
	Sockets   map[string]int64 // of /proc/net/sockstat: TCP.inuse, TCP.tw, TCP.mem and so on
	Links     []Link           // network interfaces that are up, without the loopback
	HugePages string           // transparent huge pages: always, madvise or never
	Clock     Clock
	Go        GoSettings
	User      User
}

// String returns the system, kernel, cores and memory in one line, as far as they are known.
func (m Machine) String() string {
	parts := []string{strings.TrimSpace(runtime.GOOS + "/" + runtime.GOARCH + " " + m.Kernel)}
	if m.CPU.Cores > 0 {
		parts = append(parts, human.Count(m.CPU.Cores, "core"))
	}
	if m.Memory != nil {
		parts = append(parts, human.Bytes(m.Memory.Total)+" of memory")
	}
	if m.Container != "" {
		parts = append(parts, "in "+m.Container)
	}
	return strings.Join(parts, ", ")
}

// Range is a limit of a process: the current one, and the one that it may be raised to.
type Range struct{ Soft, Hard int64 }

// Memory is in bytes.
type Memory struct{ Total, Available, SwapTotal, SwapFree int64 }

// Cgroup is one group of processes with limits. Its fields are [Unlimited] where there is none.
type Cgroup struct {
	Path        string // from the mount point
	Memory      int64  // bytes that it may use
	MemoryUsed  int64  // bytes in use that cannot be reclaimed
	Tasks       int64  // threads that it may have
	TasksUsed   int64
	MemoryKnown bool // Memory and MemoryUsed were readable, and Memory is a limit
	TasksKnown  bool // Tasks and TasksUsed were readable, and Tasks is a limit
}

// CPU is the processing time available to processes.
type CPU struct {
	Cores int     // that this process may use; 0: unknown
	Quota float64 // the smallest of all groups, in cores; 0: none
	Group string  // that has the quota
}

// Link is a network interface.
type Link struct {
	Name string
	Mbit int64 // per second; 0: unknown
}

// Clock is the clock of the machine.
type Clock struct {
	Source       string
	Synchronized *bool
}

// GoSettings are the settings of the Go runtime that a worker inherits.
type GoSettings struct {
	Processors  int
	MemoryLimit int64 // bytes; Unlimited: none
	Percent     int64 // GOGC; negative: off
}

// User is the user of the process.
type User struct {
	ID           int    // -1: unknown
	Capabilities uint64 // effective, as bits
	Mapped       bool   // its privileges are those of a user namespace, not of the machine
}

// Capabilities of linux/capability.h that lift a limit.
const (
	capNetBindService = 10
	capSysAdmin       = 21
	capSysResource    = 24
)

// can reports whether the user has a capability on the machine.
func (u User) can(capability int) bool { return !u.Mapped && u.Capabilities&(1<<capability) != 0 }

// numbers returns the fields of a kernel setting, or nil if it is absent or does not consist of numbers.
func (m *Machine) numbers(key string) []int64 {
	var list []int64
	for _, f := range strings.Fields(m.Sysctl[key]) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			if u, err := strconv.ParseUint(f, 10, 64); err == nil && u > math.MaxInt64 {
				n = Unlimited // fs.file-max of some distributions is beyond int64
			} else {
				return nil
			}
		}
		list = append(list, n)
	}
	return list
}

// number returns a kernel setting with one field, or the first field of several.
func (m *Machine) number(key string) (int64, bool) {
	if n := m.numbers(key); len(n) > 0 {
		return n[0], true
	}
	return 0, false
}

// isReserved reports whether the kernel reserves a port, so that no outgoing connection takes it.
func (m *Machine) isReserved(port int) bool {
	for part := range strings.SplitSeq(strings.TrimSpace(m.Sysctl[reservedPorts]), ",") {
		low, high, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			high = low
		}
		from, errFrom := strconv.Atoi(low)
		to, errTo := strconv.Atoi(high)
		if errFrom == nil && errTo == nil && from <= port && port <= to {
			return true
		}
	}
	return false
}
