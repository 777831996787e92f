//go:build !linux

package reactor

// newPoller returns a parker: this platform has no poller of its own.
func newPoller(Options) (poller, error) { return newParker(), nil }
