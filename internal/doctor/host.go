package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/expedite-go/expedite/internal/human"
)

// processors compares the workers with the available cores.
func (e *exam) processors() {
	c := e.CPU
	if c.Cores == 0 {
		e.unreadable("processors", "the number of cores determines the number of workers")
		return
	}
	f := Finding{Name: "processors", Level: LevelOK, Value: human.Count(c.Cores, "core")}
	f.Why = fmt.Sprintf("serve starts %s: one per core", human.Count(e.cores(), "worker"))
	if c.Quota > 0 {
		f.Value += fmt.Sprintf(", quota %.2g", c.Quota)
	}
	if c.Quota > 0 && c.Quota < float64(c.Cores) {
		f.Level, f.Why = LevelInfo,
			fmt.Sprintf("serve starts %s, as many as the quota of cgroup %s permits: with more, "+
				"all of them stall when the quota is used up", human.Count(e.cores(), "worker"), c.Group)
		if c.Quota < 1 {
			f.Level, f.Want = LevelWarn, "a quota of 1 core"
			switch e.Container {
			case "docker", "podman":
				f.Mend = e.Container + " run --cpus 1"
			case "kubernetes":
				f.Mend = `resources.limits.cpu: "1", or no limit`
			default:
				f.Mend = "CPUQuota=100% in the systemd unit"
			}
		}
	}
	e.add(f)
}

// collector checks whether the heap is bounded.
func (e *exam) collector() {
	g := e.Go
	f := Finding{Name: "gogc", Level: LevelOK, Value: decimal(g.Percent)}
	f.Why = "garbage is collected when the heap has grown by this percentage"
	switch {
	case g.Percent < 0 && g.MemoryLimit == Unlimited:
		f.Level, f.Value, f.Want, f.Mend = LevelError, "off", "100, or a GOMEMLIMIT", "unset GOGC, or set GOMEMLIMIT"
		f.Why = "garbage is never collected: the worker is killed when the memory is used up"
	case g.Percent < 0:
		f.Value, f.Why = "off", "garbage is collected when the heap reaches GOMEMLIMIT"
	case g.Percent > 400:
		f.Level, f.Want, f.Mend = LevelInfo, "100", "unset GOGC"
		f.Why = fmt.Sprintf("the heap of a worker grows to %.3g times what is in use, which is more than this "+
			"estimate assumes",
			1+float64(g.Percent)/100)
	}
	e.add(f)
}

// memoryLimit compares GOMEMLIMIT, which applies to each worker, with the memory for all of them.
func (e *exam) memoryLimit() {
	have, known := int64(Unlimited), false
	if e.Memory != nil {
		have, known = e.Memory.Available-e.Memory.Total/reserve, true
	}
	g, inGroup := e.tightest()
	if inGroup {
		have, known = min(have, g.room()), true
	}
	f := Finding{Name: "gomemlimit", Level: LevelOK, Value: "none"}
	f.Why = "garbage is collected more often when a worker comes close to it"
	limit := e.Go.MemoryLimit
	if limit != Unlimited {
		f.Value = human.Bytes(limit) + " for each worker"
	}
	if !known {
		e.add(f)
		return
	}
	// GOMEMLIMIT does not include what the kernel needs for the connections.
	per := (have - primaryBytes - e.n*KernelBytes) / (e.workers + 1)
	switch {
	case limit == Unlimited && inGroup && per > workerBytes:
		f.Level, f.Want = LevelInfo, "at most "+human.Bytes(per)
		f.Why = "without it, a worker in a cgroup may be killed although it has garbage to collect"
		f.Mend = fmt.Sprintf("GOMEMLIMIT=%dMiB expedite serve", per>>20)
	case limit != Unlimited && limit > max(per, workerBytes):
		f.Level, f.Want = LevelWarn, "at most "+human.Bytes(max(per, workerBytes))
		f.Why = fmt.Sprintf("%s may use more than there is, and be killed instead of collecting garbage: in a reload "+
			"there is one more, and the kernel needs %s", human.Count(e.workers, "worker"),
			human.Bytes(e.n*KernelBytes))
		f.Mend = fmt.Sprintf("GOMEMLIMIT=%dMiB expedite serve", max(per, workerBytes)>>20)
	}
	e.add(f)
}

func (e *exam) goProcessors() {
	f := Finding{Name: "gomaxprocs", Level: LevelOK, Value: strconv.Itoa(e.Go.Processors)}
	f.Why = "a worker has one event loop; a second processor runs callbacks and the garbage collector"
	if e.Go.Processors == 1 && e.CPU.Cores > 1 {
		f.Level, f.Want, f.Mend = LevelInfo, "2", "unset GOMAXPROCS"
		f.Why = "the event loop of a worker shares its only processor with callbacks and the garbage collector"
	}
	e.add(f)
}

// slowClocks are clock sources that need a system call, or worse, to read the time.
var slowClocks = []string{"hpet", "acpi_pm", "jiffies", "xen", "refined-jiffies", "pit"}

func (e *exam) clockSource() {
	if e.Clock.Source == "" {
		e.unreadable("clock-source", "an event loop reads the clock in every turn")
		return
	}
	f := Finding{Name: "clock-source", Level: LevelOK, Value: e.Clock.Source}
	f.Why = "an event loop reads the clock in every turn"
	if slices.Contains(slowClocks, e.Clock.Source) {
		f.Level, f.Want = LevelWarn, "tsc or kvm-clock"
		f.Why = "an event loop reads the clock in every turn, which is slow with this source"
		f.Mend = "echo tsc > /" + clockSource + ", if available_clocksource lists it"
	}
	e.add(f)
}

func (e *exam) clockSync() {
	const why = "the expiry of tokens and sessions depends on this clock"
	switch ok := e.Clock.Synchronized; {
	case ok == nil:
		e.unreadable("clock-sync", why)
	case *ok:
		e.add(Finding{Name: "clock-sync", Level: LevelOK, Value: "synchronized", Why: why})
	default:
		f := Finding{Name: "clock-sync", Level: LevelInfo, Value: "not synchronized", Want: "synchronized", Why: why}
		f.Mend = "run chronyd, or timedatectl set-ntp true"
		if e.Container != "" {
			f.Mend = "on the host: " + f.Mend
		}
		e.add(f)
	}
}

// kernel checks for the features that the cluster needs.
func (e *exam) kernel() {
	var major, minor int
	if n, _ := fmt.Sscanf(e.Kernel, "%d.%d", &major, &minor); n != 2 {
		e.unreadable("kernel", "5.3 or later has all features that Expedite uses")
		return
	}
	f := Finding{
		Name: "kernel", Level: LevelOK, Value: e.Kernel, Want: "5.3",
		Why: "has all features that Expedite uses",
	}
	switch version := major*1000 + minor; {
	case version < 3017:
		f.Level, f.Why = LevelWarn, "without memfd_create (3.17), a reload cannot replace the primary"
	case version < 5003:
		f.Level, f.Why = LevelInfo, "without pidfd_open (5.3), `expedite stop` returns when the server has closed its "+
			"socket, not when its process has ended"
	}
	if f.Level != LevelOK {
		f.Mend = "a newer kernel"
	}
	e.add(f)
}

func (e *exam) container() {
	f := Finding{Name: "container", Level: LevelOK, Value: "none detected", Why: "the limits are those of the machine"}
	if e.Container != "" {
		f.Level, f.Value = LevelInfo, e.Container
		f.Why = "network settings are those of this container, memory and cores those of the machine and its " +
			"cgroup; open connections cannot move to another container"
	}
	e.add(f)
}

// redis asks the servers for sessions and topics for their settings.
func (e *exam) redis() {
	for _, one := range e.want.Redis {
		e.add(one.examine())
	}
}

func (s *Redis) examine() Finding {
	f := Finding{Name: "redis", Level: LevelInfo, Value: s.Address, Why: "not asked"}
	if s.Probe == nil {
		return f
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	info, err := s.Probe(ctx)
	if err != nil {
		f.Level, f.Value, f.Want = LevelError, fmt.Sprintf("%s: %v", s.Address, err), "reachable"
		f.Why = "without it, sessions exist on this machine only, and messages do not reach other machines"
		f.Mend = "start it, or correct its address"
		return f
	}
	memory, policy := info["maxmemory"], info["maxmemory_policy"]
	most, errMost := strconv.ParseInt(memory, 10, 64)
	switch {
	case errMost != nil || policy == "":
		f.Value, f.Why = s.Address+" reachable", "this user may not read its memory limit"
	case most == 0:
		f.Value, f.Want = s.Address+" reachable, no maxmemory", "a maxmemory"
		f.Why = "it can use up the memory of its machine"
		f.Mend = "redis-cli CONFIG SET maxmemory BYTES, and the same in redis.conf"
	default:
		f.Level, f.Want = LevelOK, "noeviction"
		f.Value = fmt.Sprintf("%s reachable, maxmemory %s, %s", s.Address, human.Bytes(most), policy)
		f.Why = "when its memory is used up, writes fail, and sessions stay"
		if policy != "noeviction" {
			f.Level, f.Why = LevelWarn, "when its memory is used up, it evicts sessions"
			f.Mend = "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
		}
	}
	return f
}
