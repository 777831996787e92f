package traffic

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Report is the result of a run so far.
type Report struct {
	// Connected is the number of clients that connected, churn excluded.
	Connected uint64
	// Disconnected is the number of clients whose connection ended before they closed it.
	Disconnected uint64
	// Bad is the number of damaged or misdelivered messages and of protocol violations.
	Bad uint64
	// Lost is the number of missing messages and pongs. Before Stop it counts only those that a later one has
	// overtaken.
	Lost uint64
	// Doubled is the number of duplicate messages.
	Doubled uint64
	// Reordered is the number of messages that arrived after a later one.
	Reordered uint64
	// CloseFailed is the number of clients whose final close frame the server did not answer with the same code.
	CloseFailed uint64
	// Churned and ChurnFailed are the numbers of short connections that succeeded and failed.
	Churned, ChurnFailed uint64

	// Echoes, Broadcasts, Directed, Counted and Pongs are the numbers of correct messages of each kind.
	Echoes, Broadcasts, Directed, Counted, Pongs uint64

	// RTT summarizes the round-trip times of all small echoes.
	RTT Percentiles
	// Problems describes the first problems found, each with the client's kind and number.
	Problems []string
}

// Err returns nil if at least one connection succeeded and no client or short connection found a fault.
func (r Report) Err() error {
	faults := r.Disconnected + r.Bad + r.Lost + r.Doubled + r.Reordered + r.CloseFailed + r.ChurnFailed
	switch {
	case faults > 0:
		return fmt.Errorf("traffic: %d disconnected, %d bad, %d lost, %d doubled, %d reordered, %d not closed, "+
			"%d of %d churn failed:\n%s", r.Disconnected, r.Bad, r.Lost, r.Doubled, r.Reordered, r.CloseFailed,
			r.ChurnFailed, r.Churned+r.ChurnFailed, strings.Join(r.Problems, "\n"))
	case r.Connected+r.Churned == 0:
		return fmt.Errorf("traffic: no client connected")
	default:
		return nil
	}
}

// Messages returns the total number of correct messages.
func (r Report) Messages() uint64 { return r.Echoes + r.Broadcasts + r.Directed + r.Counted + r.Pongs }

// maxProblems limits Report.Problems.
const maxProblems = 20

// tally accumulates a Report. It is safe for concurrent use.
type tally struct {
	connected, disconnected, bad, lost, doubled, reordered, closeFailed, churned, churnFailed atomic.Uint64

	echoes, broadcasts, directed, counted, pongs atomic.Uint64

	mu       sync.Mutex
	problems []string
}

// fault adds n to count and records the problem.
func (t *tally) fault(count *atomic.Uint64, n uint64, problem string) {
	count.Add(n)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.problems) < maxProblems {
		t.problems = append(t.problems, problem)
	}
}

func (t *tally) report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Report{
		Connected: t.connected.Load(), Disconnected: t.disconnected.Load(), Bad: t.bad.Load(), Lost: t.lost.Load(),
		Doubled: t.doubled.Load(), Reordered: t.reordered.Load(), CloseFailed: t.closeFailed.Load(),
		Churned: t.churned.Load(), ChurnFailed: t.churnFailed.Load(), Echoes: t.echoes.Load(),
		Broadcasts: t.broadcasts.Load(), Directed: t.directed.Load(), Counted: t.counted.Load(),
		Pongs: t.pongs.Load(), Problems: append([]string(nil), t.problems...),
	}
}
