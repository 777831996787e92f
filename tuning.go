package expedite

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/expedite-go/expedite/internal/resource"
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

// settings returns t in the form of package resource.
func (t Tuning) settings() resource.Settings {
	return resource.Settings{
		Memory: t.Memory, MemoryReserve: t.MemoryReserve, GOGC: t.GOGC, Procs: t.Procs,
		ConnRate: resource.Rate(t.ConnRate), Rate: resource.Rate(t.Rate),
	}
}

// check reports what is wrong with the settings.
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

// Tuned returns what this process runs with; in the primary, what its workers run with. In a worker in which nothing
// happens, HeapLimit is a little more than it uses. It is safe for concurrent use.
func (a *App) Tuned() Tuned {
	settings, host := a.cfg.Tuning.settings(), resource.ThisHost()
	if n := a.Slots(); n > 0 {
		return tuned(settings.Running(host, n, os.Environ()))
	}
	return tuned(settings.Resolve(host, a.cfg.workers(), os.Environ()))
}

func tuned(l resource.Limits) Tuned {
	return Tuned{
		MemoryLimit: l.MemoryLimit, HeapLimit: l.HeapLimit, MemoryReserve: l.MemoryReserve, GOGC: l.GOGC, Procs: l.Procs,
		ConnRate: Rate(l.ConnRate), Rate: Rate(l.Rate),
	}
}

// LogValue returns the values by name.
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

// logTuned logs at debug level what the workers run with.
func logTuned(log *slog.Logger, d Tuned) {
	log.Log(context.Background(), slog.LevelDebug, "tuning", "tuned", d)
}

// ParseMemory reads an amount of memory in the form of GOMEMLIMIT: bytes, or a number with one of B, KiB, MiB, GiB and
// TiB.
func ParseMemory(s string) (int64, error) { return resource.ParseMemory(s) }
