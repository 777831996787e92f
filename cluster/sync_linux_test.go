package cluster

import (
	"runtime"
	"testing"
	"time"
)

// TestSyncWaitsForTheLoop: Sync returns only when the loop has handled what came before, so that a watchdog notices one
// that hangs. After Stop it returns at once.
func TestSyncWaitsForTheLoop(t *testing.T) {
	o := startOrders(t, Config{Workers: 1}, "ask")
	entered, release, synced := make(chan struct{}), make(chan struct{}), make(chan struct{})
	o.s.loop.post(func() { close(entered); <-release })
	<-entered
	go func() {
		defer close(synced)
		o.Sync()
	}()
	for deadline := time.Now().Add(time.Minute); len(o.s.loop.inbox) == 0; runtime.Gosched() {
		select {
		case <-synced:
			t.Fatal("Sync returned while the loop hangs")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("Sync does not ask the loop")
		}
	}
	close(release)
	<-synced
	o.Stop()
	o.Sync()
}
