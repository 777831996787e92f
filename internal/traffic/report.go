package traffic

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Report is what the crowd has seen up to now.
type Report struct {
	// Connected is the number of clients that connected, without churn.
	Connected uint64
	// Disconnected is the number of clients whose connection ended before they closed it.
	Disconnected uint64
	// Bad is the number of messages that were damaged or meant for somebody else, and of broken rules of the protocol.
	Bad uint64
	// Lost is the number of messages and pongs that did not come. Before Stop it has only those behind which a later
	// one came.
	Lost uint64
	// Doubled is the number of messages that came again.
	Doubled uint64
	// Reordered is the number of messages that came behind a later one.
	Reordered uint64
	// CloseFailed is the number of clients whose close frame was not answered in kind at the end.
	CloseFailed uint64
	// Churned and ChurnFailed are the numbers of short connections that went well, and that did not.
	Churned, ChurnFailed uint64

	// Echoes, Broadcasts, Directed, Counted and Pongs are the numbers of what came as it should.
	Echoes, Broadcasts, Directed, Counted, Pongs uint64

	// RTT is of all small echoes.
	RTT Percentiles
	// Problems are the first ones that were found, each with the client's kind and number.
	Problems []string
}

// Err is nil if clients connected and none of them, nor any short connection, had anything to complain about.
func (r Report) Err() error {
	faults := r.Disconnected + r.Bad + r.Lost + r.Doubled + r.Reordered + r.CloseFailed + r.ChurnFailed
	switch {
	case faults > 0:
		return fmt.Errorf("traffic: %d disconnected, %d bad, %d lost, %d doubled, %d reordered, %d not closed, "+
			"%d of %d churn failed:\n%s", r.Disconnected, r.Bad, r.Lost, r.Doubled, r.Reordered, r.CloseFailed,
			r.ChurnFailed, r.Churned+r.ChurnFailed, strings.Join(r.Problems, "\n"))
	case r.Connected+r.Churned == 0:
		return fmt.Errorf("traffic: nobody connected")
	default:
		return nil
	}
}

// Messages is the number of messages of all kinds that came as they should.
func (r Report) Messages() uint64 { return r.Echoes + r.Broadcasts + r.Directed + r.Counted + r.Pongs }

// maxProblems bounds Report.Problems.
const maxProblems = 20

// tally is a Report in the making. Any goroutine.
type tally struct {
	connected, disconnected, bad, lost, doubled, reordered, closeFailed, churned, churnFailed atomic.Uint64

	echoes, broadcasts, directed, counted, pongs atomic.Uint64

	mu       sync.Mutex
	problems []string
}

// fault counts n of what a client has found wrong, and says what.
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
