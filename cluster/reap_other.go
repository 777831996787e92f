//go:build !linux

package cluster

// startReaper does nothing: workers exist on Linux only.
func startReaper(<-chan struct{}) {}
