//go:build !linux

package telemetry

// residentBytes returns 0: on this system the value needs cgo.
func residentBytes() uint64 { return 0 }
