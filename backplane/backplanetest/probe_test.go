package backplanetest

import (
	"runtime"
	"sync"
	"testing"
)

// probe is a testing.TB that has to fail.
type probe struct {
	testing.TB
	mu      sync.Mutex
	failed  bool
	cleanup []func()
}

// run runs a test until it ends or gives up.
func (p *probe) run(test func()) {
	ended := make(chan struct{})
	go func() { // ends with the test
		defer close(ended)
		test()
	}()
	<-ended
	for _, f := range p.cleanup {
		f()
	}
}

func (p *probe) Errorf(string, ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = true
}

func (p *probe) Fatalf(string, ...any) {
	p.Errorf("")
	runtime.Goexit()
}

func (p *probe) Cleanup(f func()) { p.cleanup = append(p.cleanup, f) }
