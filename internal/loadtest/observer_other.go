//go:build !linux

package loadtest

// processSet is empty on this platform.
type processSet struct{ roots []int }

func (*processSet) look(bool) (u usage) { return u }
func (*processSet) pids() []int         { return nil }

// listenersOf returns nothing on this platform.
func listenersOf(*target) []int { return nil }
