package doctor

import (
	"fmt"
	"math"

	"github.com/expedite-go/expedite/internal/human"
)

const pageBytes = 4 << 10 // the unit of TCP's memory on most machines

// split returns what the memory is for.
func (e *exam) split() string {
	return fmt.Sprintf("%s take %s in %s and %s in the kernel, which the size of a process does not include; "+
		"a worker itself takes %s, and in a reload there is one more", e.few(), human.Bytes(e.n*e.user),
		human.Count(e.workers, "worker"),
		human.Bytes(e.n*KernelBytes), human.Bytes(workerBytes))
}

// memory compares the available memory with what the connections need.
func (e *exam) memory() {
	if e.Memory == nil {
		e.unreadable(limitMemory, "/proc/meminfo has the available memory")
		return
	}
	need := e.need(e.n, e.workers)
	have := e.Memory.Available - e.Memory.Total/reserve
	f := Finding{
		Name: limitMemory, Level: e.short(e.fit(have, e.workers) < e.n), Want: human.Bytes(need) + " available",
		Value: fmt.Sprintf("%s available of %s, 5 %% kept free",
			human.Bytes(e.Memory.Available), human.Bytes(e.Memory.Total)),
		Why: e.split(),
	}
	if f.Level != LevelOK {
		f.Mend = fmt.Sprintf("a machine with %s more memory, or more machines", human.Bytes(max(need-have, 0)))
	}
	e.add(f)
}

// cgroupMemory compares the tightest limit of a group with what the connections need. Both versions include the memory
// of the kernel.
func (e *exam) cgroupMemory() {
	g, ok := e.tightest()
	if !ok {
		if e.Memory != nil {
			e.add(Finding{
				Name: limitCgroup, Level: LevelOK, Value: "no limit",
				Why: "no cgroup of this process limits its memory",
			})
		}
		return
	}
	need := e.need(e.n, e.workers)
	total := roundUp((need+g.MemoryUsed)*reserve/(reserve-1)+1, 1<<20)
	f := Finding{
		Name: limitCgroup, Level: e.short(e.fit(g.room(), e.workers) < e.n),
		Value: fmt.Sprintf("%s, of which %s are used, 5 %% kept free",
			human.Bytes(g.Memory), human.Bytes(g.MemoryUsed)),
		Want: human.Bytes(total), Why: fmt.Sprintf("%s; both count against cgroup %s", e.split(), g.Path),
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

// tcpMemory compares the limit of pages for all TCP buffers with the number of connections that have data in them.
func (e *exam) tcpMemory() {
	n := e.numbers(tcpMem)
	if len(n) != 3 {
		e.unreadable(limitTCP, tcpMem+" limits the data of all connections in the kernel's buffers")
		return
	}
	need := (e.n + activeShare - 1) / activeShare
	f := Finding{
		Name: limitTCP, Level: e.short(n[2] < need),
		Value: fmt.Sprintf("%d pages (%s)", n[2], human.Bytes(times(n[2], pageBytes))),
		Want:  fmt.Sprintf("%d pages", need),
	}
	f.Why = fmt.Sprintf("a connection with unread or unsent data in the kernel takes at least a page; this is enough "+
		"for %s of %s at a time, and one in %d is usual", share(n[2], e.n), human.Number(e.n), activeShare)
	switch {
	case n[2] < need: // keep the kernel's proportions
		e.set(&f, tcpMem, fmt.Sprintf("%d %d %d", need/2, need*2/3, need), "pages of TCP buffers: "+f.Why)
	case n[2] < e.n:
		f.Level, f.Want = LevelInfo, fmt.Sprintf("%d pages for a message to all of them at once", e.n)
	}
	e.add(f)
}

// share returns a part of a whole in words.
func share(part, whole int64) string {
	if whole <= 0 || part >= whole {
		return "all"
	}
	return fmt.Sprintf("%.0f %%", math.Floor(float64(part)/float64(whole)*100))
}

// tcpBuffers checks the limits of these pages for one connection.
func (e *exam) tcpBuffers() {
	read, write := e.numbers(tcpRmem), e.numbers(tcpWmem)
	if len(read) != 3 || len(write) != 3 {
		e.unreadable("tcp-buffers", tcpRmem+" and "+tcpWmem+" limit the data of one connection in the kernel's buffers")
		return
	}
	f := Finding{
		Name: "tcp-buffers", Level: LevelOK, Want: fmt.Sprintf("minimum %d", pageBytes),
		Value: fmt.Sprintf("read up to %s, write up to %s", human.Bytes(read[2]), human.Bytes(write[2])),
		Why: fmt.Sprintf("buffers grow with use, and an idle connection has none; a client that does not read can "+
			"occupy %s here",
			human.Bytes(write[2])),
	}
	if least := max(read[0], write[0]); least > 4*pageBytes {
		f.Level = LevelWarn
		f.Value += fmt.Sprintf(", minimum %s", human.Bytes(least))
		f.Why = "a connection gets the minimum even when tcp_mem is used up: if it is large, tcp_mem limits nothing"
		if read[0] > 4*pageBytes {
			e.set(&f, tcpRmem, fmt.Sprintf("%d %d %d", pageBytes, read[1], read[2]),
				"buffer of a connection under memory pressure")
		}
		if write[0] > 4*pageBytes {
			e.set(&f, tcpWmem, fmt.Sprintf("%d %d %d", pageBytes, write[1], write[2]),
				"buffer of a connection under memory pressure")
		}
	}
	e.add(f)
}

// swap warns if memory is swapped: it is slower than clients wait.
func (e *exam) swap() {
	if e.Memory == nil {
		return // tcpMemory has reported it
	}
	m := e.Memory
	f := Finding{Name: "swap", Level: LevelOK, Value: "none", Why: "a worker that is swapped out does not answer"}
	if m.SwapTotal > 0 {
		used := m.SwapTotal - m.SwapFree
		f.Value = fmt.Sprintf("%s, %s used", human.Bytes(m.SwapTotal), human.Bytes(used))
		if used > m.SwapTotal/4 {
			f.Level, f.Want = LevelInfo, "mostly unused"
			f.Mend = "MemorySwapMax=0 in the systemd unit keeps Expedite out of swap"
		}
	}
	e.add(f)
}

// overcommit warns of strict accounting, which Go's large address space does not go well with.
func (e *exam) overcommit() {
	mode, ok := e.number(overcommit)
	if !ok {
		e.unreadable("overcommit", overcommit+" determines whether memory that is reserved but not used counts")
		return
	}
	f := Finding{Name: "overcommit", Level: LevelOK, Value: decimal(mode), Want: "0 or 1"}
	f.Why = "programs may reserve more memory than there is, as Go does"
	if mode == 2 {
		f.Level = LevelWarn
		f.Why = "programs may not reserve more memory than there is: a worker may run out of memory while some is free"
		e.set(&f, overcommit, "0", "memory that is reserved but not used does not count")
	}
	e.add(f)
}

// hugePages warns of pages that make small heaps large.
func (e *exam) hugePages() {
	if e.HugePages == "" {
		e.unreadable("huge-pages", "transparent huge pages can make workers larger than this estimate assumes")
		return
	}
	f := Finding{Name: "huge-pages", Level: LevelOK, Value: e.HugePages, Want: "madvise or never"}
	f.Why = "workers take only the memory that they use"
	if e.HugePages == "always" {
		f.Level = LevelInfo
		f.Why = "the kernel may allocate 2 MiB where a worker uses less, so that workers are larger than this " +
			"estimate assumes"
		f.Mend = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
		if e.Container != "" {
			f.Mend = "on the host: " + f.Mend
		}
	}
	e.add(f)
}
