package memory

import (
	"errors"
	"fmt"
	"math"
)

// ErrUnknown says that this system does not tell about its memory in a way that is understood.
var ErrUnknown = errors.New("memory: unknown")

// Usage is how much memory this process may have, and how much of that is left. The machine bounds it, and each group
// that the process is in; every bound has its own use, so the two figures may come from different ones.
type Usage struct {
	// Limit is the lowest bound in bytes: what is never there, even if nobody else wants any.
	Limit int64
	// LimitOf is whose bound that is: "machine", or the path of a group.
	LimitOf string
	// Available is the least that a bound leaves, in bytes: what may be taken before somebody is killed, or stopped. What
	// the kernel can take back at once, as files that it keeps in memory, is available.
	Available int64
	// AvailableOf is whose bound leaves that.
	AvailableOf string
}

// bound is one of the limits, and what is left of it.
type bound struct {
	of               string
	limit, available int64
}

// machine is how Usage calls what is not a group.
const machine = "machine"

// Read looks at the machine whose /proc and /sys are below root; empty is this one. It fails with ErrUnknown where no
// /proc/meminfo says what is available. Any goroutine.
func Read(root string) (Usage, error) {
	t := tree(root)
	m, ok := t.machine()
	if !ok {
		return Usage{}, fmt.Errorf("%w: no /proc/meminfo", ErrUnknown)
	}
	return tightest(append(t.groups(), m)), nil
}

// tightest puts the bounds together.
func tightest(bounds []bound) Usage {
	u := Usage{Limit: math.MaxInt64, Available: math.MaxInt64}
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
