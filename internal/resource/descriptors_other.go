//go:build !linux

package resource

import "math"

// MaxFDs returns a very large number: the limit is not read on this system.
func MaxFDs() int { return math.MaxInt32 }

// FreeFDs returns a very large number. Only a handoff needs the true one, and handoffs require Linux.
func FreeFDs() int { return math.MaxInt32 }
