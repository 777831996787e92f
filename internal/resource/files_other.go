//go:build !linux

package resource

import "math"

// OpenFiles is not known here.
func OpenFiles() int { return math.MaxInt32 }

// FreeFDs is not known here, where no connection moves.
func FreeFDs() int { return math.MaxInt32 }
