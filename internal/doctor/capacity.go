package doctor

import (
	"cmp"
	"iter"
	"slices"

	"github.com/expedite-go/expedite/internal/resource"
)

// The figures that the estimates rest on. docs/doctor.md explains where each comes from.
const (
	// MaxWorkers is the largest number of workers that is considered.
	MaxWorkers = 1000
	// KernelBytes is the memory that the kernel needs for an established connection without unsent or unread data, at
	// one end.
	KernelBytes = 5 << 10
	// DefaultUserBytes is the memory that a worker needs for an idle connection, including the overhead of garbage
	// collection.
	DefaultUserBytes = 1200

	workerFiles    = 64       // descriptors that a worker needs for itself
	primaryFiles   = 6        // descriptors of the primary for each worker, while that is being replaced
	workerBytes    = 12 << 20 // of a worker without connections
	primaryBytes   = 24 << 20
	reserve        = 20  // 1/20 of the memory stays free, for messages in transit
	inFlight       = 768 // descriptors in transit between processes: 256 of a handoff, 512 of new connections
	activeShare    = 10  // 1/10 of the connections have data in the kernel's buffers at a time
	workerThreads  = 8   // of a worker, in addition to those for its processors
	primaryThreads = 16
)

// The names of limits are those of the findings about them.
const (
	limitFiles     = "open-files"
	limitFileMax   = "file-max"
	limitMemory    = "memory"
	limitCgroup    = "cgroup-memory"
	limitTCP       = "tcp-mem"
	limitConntrack = "conntrack"
	limitTasks     = "processes"
)

// Capacity is the number of connections that a machine holds.
type Capacity struct {
	Connections int64  `json:"connections"` // 0 also if no limit was readable
	Workers     int    `json:"workers"`
	BoundBy     string `json:"bound_by"` // the limit that is reached first; empty: no limit was readable
	// Limits are all that apply to this number of workers, the lowest first.
	Limits []Limit `json:"limits"`
	// Bytes of memory for each connection. The size of a process does not include what the kernel needs.
	UserBytes   int64 `json:"user_bytes_per_connection"`
	KernelBytes int64 `json:"kernel_bytes_per_connection"`
	// SecureBytes of UserBytes are for TLS. 0: the connections do not use it.
	SecureBytes int64 `json:"tls_bytes_per_connection,omitempty"`
}

// Limit is one of several limits that apply at the same time.
type Limit struct {
	Name        string `json:"name"`        // as in the finding about it
	Connections int64  `json:"connections"` // that it permits
}

// title returns the name of the limit in a sentence.
func (l Limit) title() string {
	switch l.Name {
	case limitFiles:
		return "open files per process"
	case limitFileMax:
		return "open files of all processes (fs.file-max)"
	case limitCgroup:
		return "memory of the cgroup"
	case limitTCP:
		return "the kernel's TCP buffers (tcp_mem)"
	case limitConntrack:
		return "connection tracking (nf_conntrack_max)"
	case limitTasks:
		return "processes and threads"
	}
	return l.Name
}

// memory returns how many connections fit into the memory, and whether that is known.
func (c Capacity) memory() (n int64, ok bool) {
	n = Unlimited
	for _, l := range c.Limits {
		if l.Name == limitMemory || l.Name == limitCgroup {
			n, ok = min(n, l.Connections), true
		}
	}
	return n, ok
}

// sums computes capacities.
type sums struct {
	*Machine
	user int64 // bytes of a connection
}

// capacity returns the capacity with the given number of workers or, for 0, with the best number. If several are
// equally good, it takes the smallest.
func (s sums) capacity(workers int) Capacity {
	if workers > 0 {
		return s.with(workers)
	}
	var best Capacity
	for c := range s.choices() {
		if best.Workers == 0 || c.Connections > best.Connections {
			best = c
		}
	}
	return best
}

// workersFor returns the smallest number of workers that holds n connections. If there is none, it returns one with
// enough descriptors.
func (s sums) workersFor(n int64) int64 {
	for c := range s.choices() {
		if c.Connections >= n {
			return int64(c.Workers)
		}
	}
	if s.OpenFiles == nil {
		return int64(s.fewest())
	}
	per := max(s.perWorker(), 1)
	return min(max((n+per-1)/per, int64(s.fewest())), int64(s.most()))
}

// choices returns the capacities with one worker per core, one more, and so on, until descriptors are not the lowest
// limit.
func (s sums) choices() iter.Seq[Capacity] {
	return func(yield func(Capacity) bool) {
		for w := s.fewest(); w <= s.most(); w++ {
			c := s.with(w)
			if !yield(c) || c.BoundBy != limitFiles {
				return
			}
		}
	}
}

// fewest returns one worker per core.
func (s sums) fewest() int { return min(s.cores(), s.most()) }

// cores returns the number of workers that can run at the same time.
func (s sums) cores() int {
	return resource.Processors{Cores: s.CPU.Cores, Quota: s.CPU.Quota}.Busy()
}

// most returns the highest possible number of workers: the primary needs descriptors for each, and each needs threads.
func (s sums) most() int {
	n := int64(MaxWorkers)
	if s.OpenFiles != nil {
		n = min(n, s.perWorker()/primaryFiles)
	}
	if tasks, ok := s.taskWorkers(); ok {
		n = min(n, tasks)
	}
	return int(max(n, 1))
}

// with returns the capacity with a number of workers: the lowest of all known limits.
func (s sums) with(workers int) Capacity {
	c := Capacity{Workers: workers, UserBytes: s.user, KernelBytes: KernelBytes, Limits: s.limits(int64(workers))}
	slices.SortStableFunc(c.Limits, func(a, b Limit) int { return cmp.Compare(a.Connections, b.Connections) })
	if len(c.Limits) > 0 {
		c.Connections, c.BoundBy = c.Limits[0].Connections, c.Limits[0].Name
	}
	return c
}

// limits returns the known limits.
func (s sums) limits(workers int64) []Limit {
	list := make([]Limit, 0, 7)
	add := func(name string, n int64) { list = append(list, Limit{name, max(n, 0)}) }
	if s.OpenFiles != nil {
		per := s.perWorker()
		add(limitFiles, times(per, workers))
		if most, ok := s.taskWorkers(); ok {
			add(limitTasks, times(per, min(most, MaxWorkers)))
		}
	}
	if most, ok := s.number(fileMax); ok && most != Unlimited && !s.User.can(capSysAdmin) {
		add(limitFileMax, most-s.filesNow()-workers*workerFiles)
	}
	if s.Memory != nil {
		add(limitMemory, s.fit(s.Memory.Available-s.Memory.Total/reserve, workers))
	}
	if g, ok := s.tightest(); ok {
		add(limitCgroup, s.fit(g.room(), workers))
	}
	if n := s.numbers(tcpMem); len(n) == 3 {
		add(limitTCP, times(n[2], activeShare))
	}
	if most, ok := s.number(conntrackMax); ok && s.tracked() > 0 {
		add(limitConntrack, most-s.tracked())
	}
	return list
}

// perWorker returns the number of connections that the descriptors of a worker suffice for. In a reload the successor
// has its own. The Go runtime raises the soft limit to the hard one.
func (s sums) perWorker() int64 {
	n := min(s.OpenFiles.Hard, 1<<40)
	if most, ok := s.number(nrOpen); ok {
		n = min(n, most)
	}
	return max(n-workerFiles, 0)
}

// fit returns the number of connections that fit into bytes. In a reload there is one worker more, and the connections
// of one worker take memory in both.
func (s sums) fit(bytes, workers int64) int64 {
	bytes = min(bytes, 1<<50) - primaryBytes - (workers+1)*workerBytes
	return bytes * workers / (KernelBytes*workers + s.user*(workers+1))
}

// need returns the number of bytes that connections need. It is the inverse of fit.
func (s sums) need(connections, workers int64) int64 {
	return primaryBytes + (workers+1)*workerBytes +
		(connections*(KernelBytes*workers+s.user*(workers+1))+workers-1)/workers
}

// room returns what a group may still allocate.
func (g Cgroup) room() int64 { return g.Memory - g.MemoryUsed - g.Memory/reserve }

// tightest returns the group with the least room for memory.
func (s sums) tightest() (Cgroup, bool) {
	var best Cgroup
	for _, g := range s.Cgroups {
		if g.MemoryKnown && (!best.MemoryKnown || g.room() < best.room()) {
			best = g
		}
	}
	return best, best.MemoryKnown
}

// filesNow returns the number of open files of all processes.
func (s sums) filesNow() int64 {
	n, _ := s.number(fileNr)
	return n
}

// tracked returns the number of connections that the firewall tracks, or 0 if it tracks none.
func (s sums) tracked() int64 {
	n, _ := s.number(conntrackCount)
	return n
}

// threads returns the number of threads of a worker.
func (s sums) threads() int64 { return int64(workerThreads + max(s.CPU.Cores, 1)) }

// taskWorkers returns the number of workers that the limits of processes and threads permit, apart from one that is
// being replaced.
func (s sums) taskWorkers() (int64, bool) {
	_, free, ok := s.tasks()
	if !ok {
		return 0, false
	}
	return max((free-primaryThreads)/s.threads()-1, 0), true
}

// tasks returns the tightest limit of threads, and what is left of it.
func (s sums) tasks() (name string, free int64, ok bool) {
	free = Unlimited
	take := func(what string, n int64) {
		if n < free {
			name, free, ok = what, n, true
		}
	}
	for _, g := range s.Cgroups {
		if g.TasksKnown {
			take("pids.max of the cgroup "+g.Path, g.Tasks-g.TasksUsed)
		}
	}
	if s.Processes != nil && s.User.ID != 0 && !s.User.can(capSysResource) && !s.User.can(capSysAdmin) {
		take("RLIMIT_NPROC", s.Processes.Soft)
	}
	for _, key := range [...]string{pidMax, threadsMax} {
		if n, ok := s.number(key); ok {
			take(key, n)
		}
	}
	return name, free, ok
}

// times multiplies numbers that are not negative, and returns at most Unlimited.
func times(a, b int64) int64 {
	if a > 0 && b > Unlimited/a {
		return Unlimited
	}
	return a * b
}
