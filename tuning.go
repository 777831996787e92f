package expedite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/memory"
)

// Tuning is what an App may take of the machine. The zero value is right for a machine, or a container, that serves
// nothing else; docs/tuning.md has figures.
type Tuning struct {
	// Memory is what the Go heaps of all workers may hold together, in bytes: each gets its part as GOMEMLIMIT, near
	// which it collects more often. 0 is 80 % of the machine's or container's memory, unless GOMEMLIMIT is in the
	// environment: that is each worker's own and left alone. Negative is no limit.
	Memory int64
	// MemoryReserve is how much memory, in bytes, has to be left on the machine or in the container: below it handshakes
	// get 503 with Retry-After, and what is open stays. 0 is 5 % of the memory, at least 64 MiB and at most 1 GiB.
	// Negative takes connections until something is killed.
	MemoryReserve int64
	// GOGC is how much a worker's heap may grow until it is collected, in percent. 0 leaves it alone (100, or GOGC in
	// the environment), negative collects only near the limit of Memory.
	GOGC int
	// Procs is the number of processors that each worker's Go code uses at once (GOMAXPROCS). 0 is, unless it is in the
	// environment, one more than the worker's part of the cores, and at least 2: the event loop wants one for itself.
	Procs int
	// ConnRate bounds each connection, in bytes per second, and Rate all connections of all workers together: each
	// worker gets an equal part. Beyond it a client is not read, or what is sent to it waits in its queue, see
	// Handler.QueueLimit. A burst of a quarter of a second, and of 64 KiB in any case, passes at once; less than 4 KiB
	// per second counts as that. Requests that are no WebSockets do not count.
	ConnRate, Rate Rate
}

// Rate is bytes per second in each direction: In is from clients, Out is to them. 0 is no bound.
type Rate struct {
	In, Out int64
}

// Tuned is what each worker of an App runs with: what Tuning, the environment and the machine have led to.
type Tuned struct {
	// MemoryLimit is the memory of the machine, or of the container if that is less, in bytes; 0 if that is not known.
	MemoryLimit int64
	// HeapLimit is GOMEMLIMIT in bytes; 0 is none.
	HeapLimit int64
	// MemoryReserve is where new connections are refused, in bytes that are left; 0 is never.
	MemoryReserve int64
	// GOGC is in percent; negative is off.
	GOGC int
	// Procs is GOMAXPROCS; 0 is what Go makes of the machine.
	Procs int
	// ConnRate and Rate are the bounds of a connection and of a worker.
	ConnRate, Rate Rate
}

const (
	// heapPart is the part of the memory that the heaps may fill, in percent. The kernel wants the rest: an idle
	// connection costs it about 5 KiB, ten times what it costs the heap, and one whose peer reads slowly up to
	// net.ipv4.tcp_wmem. An application that keeps 20 KiB for each connection uses both parts up at the same time.
	heapPart = 80
	// minHeap is the least limit of a heap in bytes: below it a worker would do nothing but collect.
	minHeap = 32 << 20
	// The reserve in percent of the memory, and its bounds in bytes.
	reservePart            = 5
	minReserve, maxReserve = 64 << 20, 1 << 30
)

// check says what is wrong with the settings.
func (t Tuning) check() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"ConnRate.In", t.ConnRate.In},
		{"ConnRate.Out", t.ConnRate.Out},
		{"Rate.In", t.Rate.In},
		{"Rate.Out", t.Rate.Out},
		{"Procs", int64(t.Procs)},
	} {
		if f.value < 0 {
			return fmt.Errorf("expedite: Config.Tuning.%s is %d: want 0 or more", f.name, f.value)
		}
	}
	return nil
}

// Tuned is what this process runs with; in the primary, what its workers do. In a worker in which nothing happens,
// HeapLimit is a little more than what it has. Any goroutine.
func (a *App) Tuned() Tuned {
	if n := a.node.Load(); n != nil {
		return a.cfg.Tuning.running(thisHost(), n.slots, os.Environ())
	}
	return a.cfg.Tuning.resolve(thisHost(), a.cfg.workers(), os.Environ())
}

// host is what there is to be shared.
type host struct {
	memory memory.Usage // zero if it is not known
	cores  int
}

// thisHost is the machine, or the container, that this process runs in.
func thisHost() host {
	u, err := memory.Read("")
	if err != nil {
		u = memory.Usage{}
	}
	return host{memory: u, cores: memory.ReadProcessors("").Busy()}
}

// resolve works out what each of a number of workers runs with. environ is that of the process which starts them.
func (t Tuning) resolve(h host, workers int, environ []string) Tuned {
	workers = max(workers, 1)
	d := Tuned{
		MemoryLimit: h.memory.Limit, MemoryReserve: t.reserve(h.memory.Limit),
		GOGC: t.GOGC, Procs: t.Procs, ConnRate: t.ConnRate,
		Rate: Rate{part(t.Rate.In, workers), part(t.Rate.Out, workers)},
	}
	own, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case t.Memory > 0:
		d.HeapLimit = max(t.Memory/int64(workers), minHeap)
	case t.Memory == 0 && set:
		d.HeapLimit = parseMemory(own)
	case t.Memory == 0 && h.memory.Limit > 0:
		d.HeapLimit = max(h.memory.Limit/100*heapPart/int64(workers), minHeap)
	}
	if d.GOGC == 0 {
		d.GOGC = 100
		if v, set := lookup(environ, "GOGC"); set {
			d.GOGC = parseGOGC(v)
		}
	}
	if d.Procs == 0 {
		d.Procs = max(min((h.cores+workers-1)/workers+1, h.cores), 2)
		if v, set := lookup(environ, "GOMAXPROCS"); set {
			d.Procs, _ = strconv.Atoi(v) // what Go does not understand is not set
		}
	}
	return d
}

// reserve is where memory counts as short; 0 is never.
func (t Tuning) reserve(limit int64) int64 {
	switch {
	case t.MemoryReserve < 0:
		return 0
	case t.MemoryReserve > 0:
		return t.MemoryReserve
	default:
		return min(max(limit/100*reservePart, minReserve), maxReserve)
	}
}

// part is what one of several workers gets of a rate.
func part(rate int64, workers int) int64 {
	if rate <= 0 {
		return 0
	}
	return max(rate/int64(workers), 1)
}

// workerEnv is what the environment of each worker gets, beside environ, which it has anyway.
func workerEnv(t Tuning, h host, workers int, environ []string) []string {
	d := t.resolve(h, workers, environ)
	var env []string
	if _, set := lookup(environ, "GOMEMLIMIT"); t.Memory < 0 {
		env = append(env, "GOMEMLIMIT=off")
	} else if d.HeapLimit > 0 && (t.Memory > 0 || !set) {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(d.HeapLimit, 10))
	}
	if t.GOGC > 0 {
		env = append(env, "GOGC="+strconv.Itoa(t.GOGC))
	} else if t.GOGC < 0 {
		env = append(env, "GOGC=off")
	}
	if _, set := lookup(environ, "GOMAXPROCS"); t.Procs > 0 || !set {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(d.Procs))
	}
	return env
}

// tuneProcess gives this process, which serves alone, what a worker gets by its environment. It keeps all processors,
// unless it was told otherwise: there are no other workers.
func tuneProcess(t Tuning, h host, environ []string) {
	d := t.resolve(h, 1, environ)
	_, set := lookup(environ, "GOMEMLIMIT")
	switch {
	case t.Memory < 0:
		debug.SetMemoryLimit(math.MaxInt64)
	case d.HeapLimit > 0 && (t.Memory > 0 || !set):
		debug.SetMemoryLimit(d.HeapLimit)
	}
	if t.GOGC != 0 {
		debug.SetGCPercent(t.GOGC)
	}
	if t.Procs > 0 {
		runtime.GOMAXPROCS(t.Procs)
	}
}

// running is what this process runs with.
func (t Tuning) running(h host, workers int, environ []string) Tuned {
	d := t.resolve(h, workers, environ)
	d.Procs = runtime.GOMAXPROCS(0)
	if d.HeapLimit = debug.SetMemoryLimit(-1); d.HeapLimit == math.MaxInt64 {
		d.HeapLimit = 0
	}
	return d
}

// rates are those of the engine of one of several workers.
func (t Tuning) rates(workers int) (each, all engine.Rate) {
	workers = max(workers, 1)
	return engine.Rate(t.ConnRate), engine.Rate{In: part(t.Rate.In, workers), Out: part(t.Rate.Out, workers)}
}

// LogValue writes the values by their names.
func (d Tuned) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int64("memory_limit_bytes", d.MemoryLimit), slog.Int64("heap_limit_bytes", d.HeapLimit),
		slog.Int64("memory_reserve_bytes", d.MemoryReserve), slog.Int("gogc", d.GOGC), slog.Int("procs", d.Procs),
	}
	for _, r := range []struct {
		name  string
		value int64
	}{
		{"conn_rate_in", d.ConnRate.In}, {"conn_rate_out", d.ConnRate.Out}, {"rate_in", d.Rate.In}, {"rate_out", d.Rate.Out},
	} {
		if r.value > 0 {
			attrs = append(attrs, slog.Int64(r.name, r.value))
		}
	}
	return slog.GroupValue(attrs...)
}

// logTuned tells at debug level what the workers run with.
func logTuned(log *slog.Logger, d Tuned) {
	log.Log(context.Background(), slog.LevelDebug, "tuning", "tuned", d)
}

// lookup finds a variable; one that is empty is not set, as Go's runtime sees it. The last one counts.
func lookup(environ []string, name string) (value string, set bool) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value, set = v, v != ""
		}
	}
	return value, set
}

var errMemory = errors.New("expedite: no amount of memory")

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

// parseMemory is GOMEMLIMIT; 0 is none.
func parseMemory(s string) int64 {
	n, err := ParseMemory(s)
	if err != nil || n == math.MaxInt64 {
		return 0 // "off", or what Go refuses to start with
	}
	return n
}

// parseGOGC is GOGC in percent; negative is off.
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
