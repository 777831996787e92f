package resource

import (
	"errors"
	"fmt"
	"math"
	"path"
)

// ErrUnknown is returned by ReadMemory on a system that does not have /proc/meminfo, or does not report the available
// memory in it.
var ErrUnknown = errors.New("resource: available memory unknown")

// Memory is how much memory this process may use, and how much of it is available. The machine and each cgroup of the
// process have a limit and a use of their own. Limit and Available are each the lowest of all, so they may come from
// different ones.
type Memory struct {
	// Limit is the lowest limit in bytes.
	Limit int64
	// LimitOf is "machine" or the path of the cgroup with that limit.
	LimitOf string
	// Available is the lowest number of bytes that can still be allocated before the kernel stops or kills a process.
	// It includes memory that the kernel reclaims at once, such as cached files.
	Available int64
	// AvailableOf is "machine" or the path of the cgroup with that number.
	AvailableOf string
}

// bound is a memory limit, and how much of it is available, in bytes.
type bound struct {
	of               string // machine or the path of a cgroup
	limit, available int64
}

// machine is the name of the bound that is not a cgroup.
const machine = "machine"

// ReadMemory reads the memory of the machine whose /proc and /sys are in the directory root. An empty root is this
// machine. ReadMemory returns ErrUnknown if the machine does not report its available memory. It is safe for concurrent
// use.
func ReadMemory(root string) (Memory, error) {
	t := tree(root)
	m, ok := t.machine()
	if !ok {
		return Memory{}, fmt.Errorf("%w: no MemTotal and MemAvailable in /proc/meminfo", ErrUnknown)
	}
	var bounds []bound
	t.walk("memory", func(at mount, dir string) {
		if b, ok := t.cgroupMemory(at, dir); ok {
			bounds = append(bounds, b)
		}
	})
	return tightest(append(bounds, m)), nil
}

// tightest returns the lowest limit and the lowest available memory. The first of equal ones counts.
func tightest(bounds []bound) Memory {
	m := Memory{Limit: math.MaxInt64, Available: math.MaxInt64}
	for _, b := range bounds {
		if b.limit < m.Limit {
			m.Limit, m.LimitOf = b.limit, b.of
		}
		if b.available < m.Available {
			m.Available, m.AvailableOf = max(b.available, 0), b.of
		}
	}
	return m
}

// machine reads /proc/meminfo. It ignores swap: a server that waits for swapped-out memory is too slow to be useful.
func (t tree) machine() (bound, bool) {
	text := t.text("proc/meminfo")
	total, ok := field(text, "MemTotal:")
	available, known := field(text, "MemAvailable:")
	return bound{machine, total << 10, available << 10}, ok && known && total > 0
}

// noLimit is the smallest limit that means "no limit": version 1 of cgroups reports almost 2^63 bytes.
const noLimit = 1 << 62

// cgroupMemory reads the memory limit of a cgroup. It reports false if there is none. The soft limit memory.high counts
// as a limit, because the kernel throttles the processes of a cgroup above it.
func (t tree) cgroupMemory(m mount, dir string) (bound, bool) {
	at := path.Join(m.point, dir)
	limitFile, usedFile, cache := "memory.max", "memory.current", "inactive_file"
	if m.version == v1 {
		limitFile, usedFile, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	}
	limit, ok := t.number(path.Join(at, limitFile))
	if high, known := t.number(path.Join(at, "memory.high")); known && m.version == v2 {
		limit = min(limit, high)
	}
	used, known := t.number(path.Join(at, usedFile))
	if !ok || !known || limit >= noLimit {
		return bound{}, false
	}
	files, _ := field(t.text(path.Join(at, "memory.stat")), cache)
	return bound{dir, limit, limit - max(used-files, 0)}, true
}
