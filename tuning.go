package expedite

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/expedite-go/expedite/internal/resource"
)

// Tuning is what an App may use of the machine. The zero value suits a machine, or a container, that serves nothing
// else. docs/tuning.md has figures.
type Tuning struct {
	// Memory is how many bytes the Go heaps of all workers may use together. Each worker gets an equal share as its
	// GOMEMLIMIT; the closer its heap is to that limit, the more often it is collected. 0 is 80 % of the memory of the
	// machine or container; but if GOMEMLIMIT is set in the environment, that is the limit of each worker. A negative
	// value is no limit.
	Memory int64
	// MemoryReserve is how many bytes of memory must remain available on the machine or in the container. While less is
	// available, handshakes are answered with 503 and a Retry-After, and open connections stay, except those that hold
	// the most memory. 0 is 5 % of the memory, but at least 64 MiB and at most 1 GiB. A negative value disables the
	// check: connections are accepted until the kernel kills a process.
	MemoryReserve int64
	// GOGC is how much the heap of a worker may grow before it is collected, in percent. 0 is GOGC in the environment,
	// or else 100. With a negative value, the heap is collected only close to its limit, see Memory.
	GOGC int
	// Procs is the number of processors that the Go code of each worker uses at once (GOMAXPROCS). 0 is GOMAXPROCS in
	// the environment, or else one more than the worker's share of the cores, but at least 2: the event loop keeps one
	// processor busy.
	Procs int
	// ConnRate limits each connection, and Rate all connections of all workers together, of which each worker gets an
	// equal share. Above the limit, the server stops reading from the client, and messages to it wait in its queue, see
	// Handler.QueueLimit. Bursts of up to a quarter of a second, and of at least 64 KiB, are not delayed. A limit of less
	// than 4 KiB per second counts as 4 KiB. HTTP requests that are not upgrades are not limited.
	ConnRate, Rate Rate
}

// Rate is a number of bytes per second in each direction. In is from clients, Out is to clients. 0 is no limit.
type Rate struct {
	In, Out int64
}

// Tuned is what each worker of an App runs with: the result of Tuning, the environment and the machine.
type Tuned struct {
	// MemoryLimit is the memory of the machine, or of the container if that is less, in bytes. 0 is unknown.
	MemoryLimit int64
	// HeapLimit is the worker's GOMEMLIMIT in bytes. 0 is no limit.
	HeapLimit int64
	// MemoryReserve is the available memory in bytes below which new connections are refused. 0 is no reserve.
	MemoryReserve int64
	// GOGC is in percent. A negative value is off.
	GOGC int
	// Procs is the worker's GOMAXPROCS. 0 is the default of Go.
	Procs int
	// ConnRate limits each connection, and Rate all connections of one worker together.
	ConnRate, Rate Rate
}

// settings converts t to the type of package resource.
func (t Tuning) settings() resource.Settings {
	return resource.Settings{
		Memory: t.Memory, MemoryReserve: t.MemoryReserve, GOGC: t.GOGC, Procs: t.Procs,
		ConnRate: resource.Rate(t.ConnRate), Rate: resource.Rate(t.Rate),
	}
}

// check returns an error for the first setting that is out of range.
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

// Tuned returns what this process runs with. In the primary, it returns what the workers run with. While a worker is
// idle, its HeapLimit is temporarily a little more than the memory that it uses. Tuned is safe for concurrent use.
func (a *App) Tuned() Tuned {
	settings, host := a.cfg.Tuning.settings(), resource.ThisHost()
	if n := a.Slots(); n > 0 {
		return tuned(settings.Running(host, n, os.Environ()))
	}
	return tuned(settings.Resolve(host, a.cfg.workers(), os.Environ()))
}

// tuned converts l to the public type.
func tuned(l resource.Limits) Tuned {
	return Tuned{
		MemoryLimit: l.MemoryLimit, HeapLimit: l.HeapLimit, MemoryReserve: l.MemoryReserve, GOGC: l.GOGC, Procs: l.Procs,
		ConnRate: Rate(l.ConnRate), Rate: Rate(l.Rate),
	}
}

// LogValue implements slog.LogValuer. It leaves out rates that are not limited.
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

// ParseMemory parses an amount of memory in the syntax of GOMEMLIMIT, such as "512MiB": a whole number of bytes, or a
// whole number with the unit B, KiB, MiB, GiB or TiB.
func ParseMemory(s string) (bytes int64, err error) {
	if bytes, err = resource.ParseMemory(s); err != nil {
		return 0, fmt.Errorf("expedite: %w", err)
	}
	return bytes, nil
}
