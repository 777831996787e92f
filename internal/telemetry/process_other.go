//go:build !linux

package telemetry

// residentBytes is not known here without cgo.
func residentBytes() uint64 { return 0 }
