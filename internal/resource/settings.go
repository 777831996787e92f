package resource

import (
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Settings is what the workers of a program may use of the machine. The zero value suits a machine, or a container,
// that runs nothing else.
type Settings struct {
	// Memory is how many bytes the Go heaps of all workers may use together. 0 is 80 % of the memory; but if GOMEMLIMIT
	// is set, that is the limit of each worker. A negative value is no limit.
	Memory int64
	// MemoryReserve is how many bytes of memory must remain available. 0 is 5 % of the memory, but at least 64 MiB and at
	// most 1 GiB. A negative value is no reserve.
	MemoryReserve int64
	// GOGC is how much a heap may grow before it is collected, in percent. 0 is the environment's GOGC, or else Go's
	// default. A negative value turns it off: only the memory limit causes collections.
	GOGC int
	// Procs is the GOMAXPROCS of each worker. 0 is the environment's GOMAXPROCS, or else one more than the worker's share
	// of the cores, but at least 2.
	Procs int
	// ConnRate limits each connection, and Rate all connections of all workers together.
	ConnRate, Rate Rate
}

// Rate is a number of bytes per second in each direction. In is from clients, Out is to clients. 0 is no limit.
type Rate struct{ In, Out int64 }

// Limits is what one worker runs with.
type Limits struct {
	// MemoryLimit is the memory of the machine or the container in bytes. 0 is unknown.
	MemoryLimit int64
	// HeapLimit is the worker's GOMEMLIMIT in bytes. 0 is no limit.
	HeapLimit int64
	// MemoryReserve is how many bytes of memory must remain available. 0 is no reserve.
	MemoryReserve int64
	// GOGC is in percent. A negative value is off.
	GOGC int
	// Procs is the worker's GOMAXPROCS. 0 is the default of Go.
	Procs int
	// ConnRate limits each connection, and Rate all connections of this worker together.
	ConnRate, Rate Rate
}

const (
	// heapShare is the share of the memory that the heaps may use, in percent. The kernel needs the rest. It uses about
	// 5 KiB for an idle connection, ten times what the heap uses, and up to net.ipv4.tcp_wmem for one with a slow peer.
	// If an application keeps 20 KiB for each connection, both shares are used up at the same number of connections.
	heapShare = 80
	// minHeap is the lowest heap limit in bytes. With less, a worker would collect garbage all the time.
	minHeap = 32 << 20
	// reserveShare is the default reserve in percent of the memory. Its bounds are in bytes.
	reserveShare           = 5
	minReserve, maxReserve = 64 << 20, 1 << 30
)

// Host is what the workers share: the machine, or the container.
type Host struct {
	Memory Memory // zero if unknown
	Cores  int    // that can be busy at once
}

// ThisHost returns the Host that this process runs on.
func ThisHost() Host {
	m, err := ReadMemory("")
	if err != nil {
		m = Memory{}
	}
	return Host{Memory: m, Cores: ReadProcessors("").Busy()}
}

// Resolve returns the limits of each of the workers. environ is the environment of the process that starts them.
func (s Settings) Resolve(h Host, workers int, environ []string) Limits {
	workers = max(workers, 1)
	l := Limits{
		MemoryLimit: h.Memory.Limit, MemoryReserve: s.reserve(h.Memory.Limit),
		GOGC: s.GOGC, Procs: s.Procs, ConnRate: s.ConnRate,
		Rate: Rate{split(s.Rate.In, workers), split(s.Rate.Out, workers)},
	}
	own, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case s.Memory > 0:
		l.HeapLimit = max(s.Memory/int64(workers), minHeap)
	case s.Memory == 0 && set:
		l.HeapLimit = parseMemoryLimit(own)
	case s.Memory == 0 && h.Memory.Limit > 0:
		l.HeapLimit = max(h.Memory.Limit/100*heapShare/int64(workers), minHeap)
	}
	if l.GOGC == 0 {
		l.GOGC = defaultGOGC
		if v, set := lookup(environ, "GOGC"); set {
			l.GOGC = parseGOGC(v)
		}
	}
	if l.Procs == 0 {
		l.Procs = max(min((h.Cores+workers-1)/workers+1, h.Cores), 2)
		if v, set := lookup(environ, "GOMAXPROCS"); set {
			l.Procs, _ = strconv.Atoi(v) // Go ignores a value that is not a number, and uses its default
		}
	}
	return l
}

// reserve returns the memory reserve in bytes for an amount of memory. 0 is no reserve.
func (s Settings) reserve(memory int64) int64 {
	switch {
	case s.MemoryReserve < 0:
		return 0
	case s.MemoryReserve > 0:
		return s.MemoryReserve
	default:
		return min(max(memory/100*reserveShare, minReserve), maxReserve)
	}
}

// split returns one worker's share of a rate. A rate that is limited stays so: its share is at least 1.
func split(rate int64, workers int) int64 {
	if rate <= 0 {
		return 0
	}
	return max(rate/int64(workers), 1)
}

// WorkerEnv returns the variables that the environment of each worker needs in addition to environ.
func (s Settings) WorkerEnv(h Host, workers int, environ []string) []string {
	l := s.Resolve(h, workers, environ)
	var env []string
	if _, set := lookup(environ, "GOMEMLIMIT"); s.Memory < 0 {
		env = append(env, "GOMEMLIMIT=off")
	} else if l.HeapLimit > 0 && (s.Memory > 0 || !set) {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(l.HeapLimit, 10))
	}
	if s.GOGC > 0 {
		env = append(env, "GOGC="+strconv.Itoa(s.GOGC))
	} else if s.GOGC < 0 {
		env = append(env, "GOGC=off")
	}
	if _, set := lookup(environ, "GOMAXPROCS"); s.Procs > 0 || !set {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(l.Procs))
	}
	return env
}

// Apply applies the settings to this process, which serves alone. It does what WorkerEnv does for a worker, but leaves
// GOMAXPROCS as it is unless Procs is set, because no other worker uses the processors.
func (s Settings) Apply(h Host, environ []string) {
	l := s.Resolve(h, 1, environ)
	_, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case s.Memory < 0:
		debug.SetMemoryLimit(math.MaxInt64)
	case l.HeapLimit > 0 && (s.Memory > 0 || !set):
		debug.SetMemoryLimit(l.HeapLimit)
	}
	if s.GOGC != 0 {
		debug.SetGCPercent(s.GOGC)
	}
	if s.Procs > 0 {
		runtime.GOMAXPROCS(s.Procs)
	}
}

// Running returns the limits of this process, which is one of the workers. HeapLimit and Procs are those in effect.
func (s Settings) Running(h Host, workers int, environ []string) Limits {
	l := s.Resolve(h, workers, environ)
	l.Procs = runtime.GOMAXPROCS(0)
	if l.HeapLimit = debug.SetMemoryLimit(-1); l.HeapLimit == math.MaxInt64 {
		l.HeapLimit = 0
	}
	return l
}
