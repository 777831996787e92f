package cluster

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestFlushedMessagesOutliveTheirSender(t *testing.T) {
	var got atomic.Int64
	g := start(t, Config{Workers: 1, OnMessage: func(*Worker, []byte) { got.Add(1) }}, "hasty")
	if err := g.Workers()[0].Send([]byte("go")); err != nil {
		t.Fatal(err)
	}
	g.await(EventExit, 1)
	if n := got.Load(); n != 20000 {
		t.Errorf("%d messages, want 20000", n)
	}
}

func TestOnlineComesBeforeMessages(t *testing.T) {
	var online atomic.Uint64 // id of the last worker
	message := make(chan bool, 1)
	g := start(t, Config{
		Workers: 1,
		OnEvent: func(e Event) {
			switch {
			case e.Kind == EventFork && e.Worker.Generation() > 1: // the events of this worker are late
				select {
				case in := <-message:
					message <- in
				case <-time.After(time.Second):
				}
			case e.Kind == EventOnline:
				online.Store(e.Worker.ID())
			}
		},
		OnMessage: func(w *Worker, _ []byte) { message <- online.Load() == w.ID() },
	}, "eager")
	_ = g.Workers()[0].Kill(9)
	if !<-message {
		t.Error("a message came before EventOnline")
	}
	g.await(EventReady, 1)
}
