package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// wanderer is a client with a session. When its machine closes it, it goes on at the other one.
type wanderer struct {
	*client
	moves int

	mu     sync.Mutex
	last   int // number of the latest message of the counter
	faults []string
}

// wander reads what the counter says until ctx ends.
func (w *wanderer) wander(ctx context.Context, to *server) {
	for {
		_, b, err := w.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusServiceRestart && w.moves == 0 {
			session := *w.hello.Session
			if w.client, err = to.dial(ctx, "/?session="+session.String()); err == nil {
				w.moves++
				if !w.hello.Resumed {
					w.fault("the session was not resumed")
				}
				continue
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				w.fault(err.Error())
			}
			return
		}
		if _, number, ok := strings.Cut(string(b), "m1:"); ok {
			w.take(number)
		}
	}
}

func (w *wanderer) take(number string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := strconv.Atoi(number)
	if err != nil || w.last > 0 && n != w.last+1 {
		w.faults = append(w.faults, fmt.Sprintf("%q after %d", number, w.last))
	}
	w.last = n
}

func (w *wanderer) fault(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, text)
}

// state returns the number of the latest message, and what was wrong.
func (w *wanderer) state() (last int, faults []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.faults
}

// TestDrainOfAMachine: while one of two machines is drained under traffic, the clients with sessions go on at the other
// one, and miss nothing.
func TestDrainOfAMachine(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	redis := redistest.Start(t).URL()
	var machines [2]*server
	for i := range machines {
		machines[i] = serve(t, "--redis", redis, "--workers", "2", "--history", "lobby=100000/10m")
	}
	sender := &counter{client: machines[1].mustDial(ctx, "/"), name: "m1"}
	go sender.discard(ctx, t) // ends with the connection
	wanderers := make([]*wanderer, 10)
	for i := range wanderers {
		wanderers[i] = &wanderer{client: machines[0].mustDial(ctx, "/")}
		go wanderers[i].wander(ctx, machines[1]) // ends with ctx
	}
	haveAll := func() bool {
		for _, w := range wanderers {
			if last, _ := w.state(); last != sender.sent {
				return false
			}
		}
		return true
	}
	eventually(t, "the other machine is heard", func() bool {
		if err := sender.send(ctx); err != nil {
			t.Fatal(err)
		}
		return haveAll()
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		sender.sendFor(ctx, t, stop)
	}()
	machines[0].must("drain", "--settle", "0s", "--over", "3s")
	machines[0].drained()
	machines[1].await("all have come", func(st control.Status) bool { return st.Totals.Connections == int64(len(wanderers))+1 })
	close(stop)
	<-stopped
	eventually(t, "everybody has everything", haveAll)
	for i, w := range wanderers {
		if _, faults := w.state(); len(faults) > 0 {
			t.Errorf("client %d: %q", i, faults)
		}
	}
	t.Logf("%d messages", sender.sent)
}
