package secure

import (
	"crypto/tls"
	"strconv"
	"sync"
	"time"
)

// Completed are figures of handshakes that were completed.
type Completed struct {
	// Suites counts them by the name of the cipher suite.
	Suites map[string]uint64
	// Took counts them by how long they took: the upper bound in seconds of each interval, in decimal; "+Inf" is above
	// the last bound. The time includes what the client has waited for, the processor and the network among them.
	Took map[string]uint64
	// Microseconds is the sum of these times.
	Microseconds uint64
}

// intervals is the number of those of Completed.Took.
const intervals = 13

// bounds returns the upper bounds of the intervals of Completed.Took. A handshake takes a millisecond of a processor,
// and one or two round trips; after 10 s it is ended.
func bounds() [intervals - 1]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{
		1 * ms, 2500 * time.Microsecond, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		1000 * ms, 2500 * ms, 5000 * ms,
	}
}

// timing collects figures of handshakes that were completed.
type timing struct {
	mu     sync.Mutex
	suites map[uint16]uint64 // crypto/tls knows some ten
	took   [intervals]uint64 // the last one is above all bounds
	micros uint64
}

// add counts a handshake.
func (t *timing) add(suite uint16, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.suites == nil {
		t.suites = make(map[uint16]uint64)
	}
	t.suites[suite]++
	t.micros += uint64(took.Microseconds())
	i := 0
	for _, bound := range bounds() {
		if took <= bound {
			break
		}
		i++
	}
	t.took[i]++
}

// Completed returns figures of the handshakes that were completed; the maps are nil if there was none.
func (s *Stats) Completed() (c Completed) {
	t := &s.timing
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.suites) == 0 {
		return c
	}
	c = Completed{Suites: make(map[string]uint64), Took: make(map[string]uint64), Microseconds: t.micros}
	c.Took["+Inf"] = t.took[intervals-1]
	for suite, n := range t.suites {
		c.Suites[tls.CipherSuiteName(suite)] = n
	}
	for i, bound := range bounds() {
		c.Took[strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)] = t.took[i]
	}
	return c
}
