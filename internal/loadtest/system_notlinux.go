//go:build !linux

package loadtest

// memory returns 0: resident memory is unknown on this platform.
func memory(int) int64 { return 0 }
