package doctor

import (
	"fmt"
	"math"

	"github.com/expedite-go/expedite/internal/human"
)

const pageBytes = 4 << 10 // what the kernel counts TCP's memory in, on most machines

// split tells where the memory goes.
func (e *exam) split() string {
	return fmt.Sprintf("%s take %s in %s and %s in the kernel, which the size of a process does not show; "+
		"a worker alone takes %s, and in a reload there is one more", e.few(), human.Bytes(e.n*e.user),
		human.Count(e.workers, "worker"),
		human.Bytes(e.n*KernelBytes), human.Bytes(workerBytes))
}

// memory compares what is available with what the connections want.
func (e *exam) memory() {
	if e.Memory == nil {
		e.unreadable(limitMemory, "/proc/meminfo tells what is available")
		return
	}
	need := e.need(e.n, e.workers)
	have := e.Memory.Available - e.Memory.Total/reserve
	f := Finding{
		Name: limitMemory, Level: e.short(e.fit(have, e.workers) < e.n), Want: human.Bytes(need) + " available",
		Value: fmt.Sprintf("%s available of %s, a twentieth kept free",
			human.Bytes(e.Memory.Available), human.Bytes(e.Memory.Total)),
		Why: e.split(),
	}
	if f.Level != LevelOK {
		f.Mend = fmt.Sprintf("a machine with %s more memory, or more machines", human.Bytes(max(need-have, 0)))
	}
	e.add(f)
}

// cgroupMemory compares the tightest limit of a group with what the connections want. Both versions charge what the
// kernel needs as well.
func (e *exam) cgroupMemory() {
	g, ok := e.tightest()
	if !ok {
		if e.Memory != nil {
			e.add(Finding{
				Name: limitCgroup, Level: LevelOK, Value: "no limit",
				Why: "no cgroup that this process is in bounds its memory",
			})
		}
		return
	}
	need := e.need(e.n, e.workers)
	total := roundUp((need+g.MemoryUsed)*reserve/(reserve-1)+1, 1<<20)
	f := Finding{
		Name: limitCgroup, Level: e.short(e.fit(g.room(), e.workers) < e.n),
		Value: fmt.Sprintf("%s of which %s are used, a twentieth kept free",
			human.Bytes(g.Memory), human.Bytes(g.MemoryUsed)),
		Want: human.Bytes(total), Why: fmt.Sprintf("%s; the cgroup %s is charged for both", e.split(), g.Path),
	}
	if f.Level != LevelOK {
		mib := total >> 20
		switch e.Container {
		case "docker", "podman":
			f.Mend = fmt.Sprintf("%s run --memory %dm", e.Container, mib)
		case "kubernetes":
			f.Mend = fmt.Sprintf("resources.limits.memory: %dMi", mib)
		default:
			f.Mend = fmt.Sprintf("MemoryMax=%dM in the systemd unit", mib)
		}
	}
	e.add(f)
}

// tcpMemory compares the pages that all of TCP's buffers may have with those of connections that have data in them.
func (e *exam) tcpMemory() {
	n := e.numbers(tcpMem)
	if len(n) != 3 {
		e.unreadable(limitTCP, tcpMem+" bounds the data that all connections have in the kernel's buffers")
		return
	}
	need := (e.n + activeShare - 1) / activeShare
	f := Finding{
		Name: limitTCP, Level: e.short(n[2] < need),
		Value: fmt.Sprintf("%d pages (%s)", n[2], human.Bytes(times(n[2], pageBytes))),
		Want:  fmt.Sprintf("%d pages", need),
	}
	f.Why = fmt.Sprintf("a connection that has unread or unsent data in the kernel holds at least a page; this is enough "+
		"for %s of %s at a time, and one in %d counts as usual", share(n[2], e.n), human.Number(e.n), activeShare)
	switch {
	case n[2] < need: // the kernel's own proportions
		e.set(&f, tcpMem, fmt.Sprintf("%d %d %d", need/2, need*2/3, need), "pages of TCP buffers: "+f.Why)
	case n[2] < e.n:
		f.Level, f.Want = LevelInfo, fmt.Sprintf("%d pages for a message to all at once", e.n)
	}
	e.add(f)
}

// share is a part of a whole in words.
func share(part, whole int64) string {
	if whole <= 0 || part >= whole {
		return "all"
	}
	return fmt.Sprintf("%.0f %%", math.Floor(float64(part)/float64(whole)*100))
}

// tcpBuffers looks at what each connection may have of these pages, whatever the pressure.
func (e *exam) tcpBuffers() {
	read, write := e.numbers(tcpRmem), e.numbers(tcpWmem)
	if len(read) != 3 || len(write) != 3 {
		e.unreadable("tcp-buffers", tcpRmem+" and "+tcpWmem+" are what one connection may have in the kernel's buffers")
		return
	}
	f := Finding{
		Name: "tcp-buffers", Level: LevelOK, Want: fmt.Sprintf("minimum %d", pageBytes),
		Value: fmt.Sprintf("read up to %s, write up to %s", human.Bytes(read[2]), human.Bytes(write[2])),
		Why: fmt.Sprintf("buffers grow with use, an idle connection has none; a client that reads nothing can hold %s here",
			human.Bytes(write[2])),
	}
	if least := max(read[0], write[0]); least > 4*pageBytes {
		f.Level = LevelWarn
		f.Value += fmt.Sprintf(", minimum %s", human.Bytes(least))
		f.Why = "the minimum is what a connection gets even when tcp_mem is used up: a large one makes that no bound"
		if read[0] > 4*pageBytes {
			e.set(&f, tcpRmem, fmt.Sprintf("%d %d %d", pageBytes, read[1], read[2]),
				"what a connection gets under pressure")
		}
		if write[0] > 4*pageBytes {
			e.set(&f, tcpWmem, fmt.Sprintf("%d %d %d", pageBytes, write[1], write[2]),
				"what a connection gets under pressure")
		}
	}
	e.add(f)
}

// swap warns of memory that is slower than a client waits.
func (e *exam) swap() {
	if e.Memory == nil {
		return // said above
	}
	m := e.Memory
	f := Finding{Name: "swap", Level: LevelOK, Value: "none", Why: "a worker that is swapped out answers nobody"}
	if m.SwapTotal > 0 {
		used := m.SwapTotal - m.SwapFree
		f.Value = fmt.Sprintf("%s, %s used", human.Bytes(m.SwapTotal), human.Bytes(used))
		if used > m.SwapTotal/4 {
			f.Level, f.Want = LevelInfo, "little of it in use"
			f.Mend = "MemorySwapMax=0 in the systemd unit keeps Expedite out of it"
		}
	}
	e.add(f)
}

// overcommit warns of a strict accounting that Go's address space does not go well with.
func (e *exam) overcommit() {
	mode, ok := e.number(overcommit)
	if !ok {
		e.unreadable("overcommit", overcommit+" decides about memory that is promised and not used")
		return
	}
	f := Finding{Name: "overcommit", Level: LevelOK, Value: decimal(mode), Want: "0 or 1"}
	f.Why = "the kernel promises more memory than there is, as Go expects"
	if mode == 2 {
		f.Level = LevelWarn
		f.Why = "the kernel refuses what it cannot back: a worker may end for want of memory while some is free"
		e.set(&f, overcommit, "0", "memory that is promised and not used is not counted")
	}
	e.add(f)
}

// hugePages warns of pages that make small heaps large.
func (e *exam) hugePages() {
	if e.HugePages == "" {
		e.unreadable("huge-pages", "transparent huge pages can make the memory of workers larger than counted")
		return
	}
	f := Finding{Name: "huge-pages", Level: LevelOK, Value: e.HugePages, Want: "madvise or never"}
	f.Why = "the memory of workers is as large as they use"
	if e.HugePages == "always" {
		f.Level = LevelInfo
		f.Why = "the kernel may back a little used memory with 2 MiB, so that workers are larger than counted here"
		f.Mend = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
		if e.Container != "" {
			f.Mend = "on the host: " + f.Mend
		}
	}
	e.add(f)
}
