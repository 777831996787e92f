//go:build !linux

package reactor

// newPoller makes the poller of this platform: it has none of its own.
func newPoller(Options) (poller, error) { return newParker(), nil }
