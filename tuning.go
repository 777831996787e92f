package expedite

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/expedite-go/expedite/internal/resource"
)

// Tuning limits what an App takes of the machine. The zero value is right for a machine, or a container, that runs
// nothing else. docs/tuning.md has figures.
type Tuning struct {
	// Memory is what the Go heaps of all workers may hold together, in bytes. Each worker gets its share as GOMEMLIMIT,
	// near which it collects more often. 0 is 80 % of the memory of the machine or the container, unless GOMEMLIMIT is set
	// in the environment: then each worker has that. Negative is no limit.
	Memory int64
	// MemoryReserve is how much memory must be left on the machine or in the container, in bytes. While less is left,
	// handshakes get 503 with Retry-After; open connections stay. 0 is 5 % of the memory, at least 64 MiB and at most
	// 1 GiB. Negative is none: connections are accepted until the system kills a process.
	MemoryReserve int64
	// GOGC is how much a worker's heap may grow before it is collected, in percent. 0 does not set it (100, or GOGC in the
	// environment); negative collects only near the limit of Memory.
	GOGC int
	// Procs is the number of processors that the Go code of each worker uses at once (GOMAXPROCS). 0 is, unless it is set
	// in the environment, one more than the worker's share of the cores, and at least 2: the event loop needs one of its
	// own.
	Procs int
	// ConnRate limits each connection, in bytes per second, and Rate all connections of all workers together: each worker
	// gets an equal share. Beyond it a client is not read, or what is sent to it is queued, see Handler.QueueLimit. A
	// burst of a quarter of a second, and of 64 KiB in any case, passes at once. The lowest rate is 4 KiB per second. HTTP
	// requests do not count.
	ConnRate, Rate Rate
}

// Rate is bytes per second in each direction: In is from clients, Out is to them. 0 is no limit.
type Rate struct {
	In, Out int64
}

// Tuned is what each worker of an App runs with: the result of Tuning, the environment and the machine.
type Tuned struct {
	// MemoryLimit is the memory of the machine, or of the container if that is less, in bytes; 0 if it is not known.
	MemoryLimit int64
	// HeapLimit is GOMEMLIMIT in bytes; 0 is none.
	HeapLimit int64
	// MemoryReserve is the memory left below which new connections are refused, in bytes; 0 is none.
	MemoryReserve int64
	// GOGC is in percent; negative is off.
	GOGC int
	// Procs is GOMAXPROCS; 0 is the default of Go.
	Procs int
	// ConnRate limits a connection, and Rate a worker.
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
