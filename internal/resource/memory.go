package resource

import (
	"errors"
	"fmt"
	"math"
)

// ErrUnknown reports a system that does not tell how much memory it has.
var ErrUnknown = errors.New("resource: memory unknown")

// Memory is how much memory this process may have, and how much of that is left. The machine and each group that the
// process is in bound it. Each bound has a use of its own, so the two figures may come from different ones.
type Memory struct {
	// Limit is the lowest bound in bytes.
	Limit int64
	// LimitOf names that bound: "machine", or the path of a group.
	LimitOf string
	// Available is the least that a bound leaves, in bytes: what may be taken before a process is killed or stopped. What
	// the kernel can take back at once, such as cached files, is available.
	Available int64
	// AvailableOf names that bound.
	AvailableOf string
}

// bound is a limit, and what is left of it.
type bound struct {
	of               string
	limit, available int64
}

// machine is the name of the bound that is not a group.
const machine = "machine"

// ReadMemory reads the memory of the machine whose /proc and /sys are below root; empty is this one. It fails with
// ErrUnknown if there is no /proc/meminfo that tells what is available. It is safe for concurrent use.
func ReadMemory(root string) (Memory, error) {
	t := tree(root)
	m, ok := t.machine()
	if !ok {
		return Memory{}, fmt.Errorf("%w: no /proc/meminfo", ErrUnknown)
	}
	return tightest(append(t.groups(), m)), nil
}

// tightest combines bounds.
func tightest(bounds []bound) Memory {
	u := Memory{Limit: math.MaxInt64, Available: math.MaxInt64}
	for _, b := range bounds {
		if b.limit < u.Limit {
			u.Limit, u.LimitOf = b.limit, b.of
		}
		if b.available < u.Available {
			u.Available, u.AvailableOf = max(b.available, 0), b.of
		}
	}
	return u
}
