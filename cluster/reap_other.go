//go:build !linux

package cluster

// startReaper does nothing: there are no workers here.
func (p *Primary) startReaper() {}
