package resource

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Settings are what workers may take of the machine. The zero value is right for a machine, or a container, that serves
// nothing else.
type Settings struct {
	// Memory is what the heaps of all workers may hold together, in bytes. 0 is 80 % of the memory, unless GOMEMLIMIT is
	// set: then each worker has that. Negative is no limit.
	Memory int64
	// MemoryReserve is how much memory must be left, in bytes. 0 is 5 % of it, at least 64 MiB and at most 1 GiB. Negative
	// is none.
	MemoryReserve int64
	// GOGC is how much a heap may grow until it is collected, in percent. 0 leaves it alone, negative is off.
	GOGC int
	// Procs is GOMAXPROCS. 0 is, unless it is set, one more than the worker's share of the cores, and at least 2.
	Procs int
	// ConnRate bounds each connection, and Rate all connections of all workers together.
	ConnRate, Rate Rate
}

// Rate is bytes per second in each direction: In is from clients, Out is to them. 0 is no bound.
type Rate struct{ In, Out int64 }

// Limits are what each of several workers runs with.
type Limits struct {
	// MemoryLimit is the memory of the machine or the container, in bytes; 0 if it is not known.
	MemoryLimit int64
	// HeapLimit is GOMEMLIMIT in bytes; 0 is none.
	HeapLimit int64
	// MemoryReserve is how much memory must be left, in bytes; 0 is none.
	MemoryReserve int64
	// GOGC is in percent; negative is off.
	GOGC int
	// Procs is GOMAXPROCS; 0 is the default of Go.
	Procs int
	// ConnRate bounds a connection, and Rate a worker.
	ConnRate, Rate Rate
}

const (
	// heapShare is the share of the memory that the heaps may fill, in percent. The kernel needs the rest: an idle
	// connection costs it about 5 KiB, ten times what it costs the heap, and one whose peer reads slowly up to
	// net.ipv4.tcp_wmem. An application that keeps 20 KiB for each connection uses up both shares at the same time.
	heapShare = 80
	// minHeap is the smallest limit of a heap in bytes: with less, a worker would only collect.
	minHeap = 32 << 20
	// The reserve in percent of the memory, and its bounds in bytes.
	reserveShare           = 5
	minReserve, maxReserve = 64 << 20, 1 << 30
)

// Host is what the workers share.
type Host struct {
	Memory Memory // zero if it is not known
	Cores  int
}

// ThisHost returns the machine, or the container, that this process runs in.
func ThisHost() Host {
	m, err := ReadMemory("")
	if err != nil {
		m = Memory{}
	}
	return Host{Memory: m, Cores: ReadProcessors("").Busy()}
}

// Resolve works out what each of a number of workers runs with. Environ is that of the process which starts them.
func (s Settings) Resolve(h Host, workers int, environ []string) Limits {
	workers = max(workers, 1)
	d := Limits{
		MemoryLimit: h.Memory.Limit, MemoryReserve: s.reserve(h.Memory.Limit),
		GOGC: s.GOGC, Procs: s.Procs, ConnRate: s.ConnRate,
		Rate: Rate{part(s.Rate.In, workers), part(s.Rate.Out, workers)},
	}
	own, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case s.Memory > 0:
		d.HeapLimit = max(s.Memory/int64(workers), minHeap)
	case s.Memory == 0 && set:
		d.HeapLimit = parseMemory(own)
	case s.Memory == 0 && h.Memory.Limit > 0:
		d.HeapLimit = max(h.Memory.Limit/100*heapShare/int64(workers), minHeap)
	}
	if d.GOGC == 0 {
		d.GOGC = 100
		if v, set := lookup(environ, "GOGC"); set {
			d.GOGC = parseGOGC(v)
		}
	}
	if d.Procs == 0 {
		d.Procs = max(min((h.Cores+workers-1)/workers+1, h.Cores), 2)
		if v, set := lookup(environ, "GOMAXPROCS"); set {
			d.Procs, _ = strconv.Atoi(v) // Go ignores what it does not understand
		}
	}
	return d
}

// reserve returns how much memory must be left; 0 is none.
func (s Settings) reserve(limit int64) int64 {
	switch {
	case s.MemoryReserve < 0:
		return 0
	case s.MemoryReserve > 0:
		return s.MemoryReserve
	default:
		return min(max(limit/100*reserveShare, minReserve), maxReserve)
	}
}

// part returns the share of one of several workers in a rate.
func part(rate int64, workers int) int64 {
	if rate <= 0 {
		return 0
	}
	return max(rate/int64(workers), 1)
}

// WorkerEnv returns what the environment of each worker gets in addition to environ.
func (s Settings) WorkerEnv(h Host, workers int, environ []string) []string {
	d := s.Resolve(h, workers, environ)
	var env []string
	if _, set := lookup(environ, "GOMEMLIMIT"); s.Memory < 0 {
		env = append(env, "GOMEMLIMIT=off")
	} else if d.HeapLimit > 0 && (s.Memory > 0 || !set) {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(d.HeapLimit, 10))
	}
	if s.GOGC > 0 {
		env = append(env, "GOGC="+strconv.Itoa(s.GOGC))
	} else if s.GOGC < 0 {
		env = append(env, "GOGC=off")
	}
	if _, set := lookup(environ, "GOMAXPROCS"); s.Procs > 0 || !set {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(d.Procs))
	}
	return env
}

// Apply gives this process, which serves alone, what a worker gets by its environment. It keeps all processors unless
// Procs is set.
func (s Settings) Apply(h Host, environ []string) {
	d := s.Resolve(h, 1, environ)
	_, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case s.Memory < 0:
		debug.SetMemoryLimit(math.MaxInt64)
	case d.HeapLimit > 0 && (s.Memory > 0 || !set):
		debug.SetMemoryLimit(d.HeapLimit)
	}
	if s.GOGC != 0 {
		debug.SetGCPercent(s.GOGC)
	}
	if s.Procs > 0 {
		runtime.GOMAXPROCS(s.Procs)
	}
}

// Running returns what this process, one of a number of workers, runs with.
func (s Settings) Running(h Host, workers int, environ []string) Limits {
	d := s.Resolve(h, workers, environ)
	d.Procs = runtime.GOMAXPROCS(0)
	if d.HeapLimit = debug.SetMemoryLimit(-1); d.HeapLimit == math.MaxInt64 {
		d.HeapLimit = 0
	}
	return d
}

// lookup finds a variable. An empty one is not set, as in Go's runtime, and the last one counts.
func lookup(environ []string, name string) (value string, set bool) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value, set = v, v != ""
		}
	}
	return value, set
}

var errMemory = errors.New("expedite: not an amount of memory")

// ParseMemory reads an amount of memory in the form of GOMEMLIMIT: bytes, or a number with one of B, KiB, MiB, GiB and
// TiB.
func ParseMemory(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTi")
	factor, ok := map[string]int64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%w: %q; it looks like 512MiB or 4GiB", errMemory, s)
	}
	return n * factor, nil
}

// parseMemory reads GOMEMLIMIT; 0 is none.
func parseMemory(s string) int64 {
	n, err := ParseMemory(s)
	if err != nil || n == math.MaxInt64 {
		return 0 // "off", or something with which Go does not start
	}
	return n
}

// parseGOGC reads GOGC in percent; negative is off.
func parseGOGC(s string) int {
	n, err := strconv.Atoi(s)
	if s == "off" {
		return -1
	}
	if err != nil {
		return 100
	}
	return n
}
