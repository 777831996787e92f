package main

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
)

// TestPauseIsNoSilence checks that processes that were stopped for longer than the idle timeout disconnect no client
// when they continue: they ping the clients first. Messages that clients have sent meanwhile are answered.
func TestPauseIsNoSilence(t *testing.T) {
	t.Parallel()
	const clients, idle = 40, 6 * time.Second
	s := serve(t, "--workers", "2", "--idle-timeout", idle.String(), "--ping-interval", "2s")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answers := make(chan error, clients)
	var list []*client
	for i := range clients {
		c := s.mustDial(ctx, "/echo")
		list = append(list, c)
		go func() { // ends with the client; reading answers pings
			_, b, err := c.Read(ctx)
			if err == nil && string(b) != fmt.Sprint(i) {
				err = fmt.Errorf("heard %q", b)
			}
			answers <- err
		}()
	}
	st := s.await("all are there", clientsAre(clients))
	pids := []int{st.PID}
	for _, w := range st.Workers {
		pids = append(pids, w.PID)
	}
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Error(err)
			}
		}
	}
	say := func(from, to int) {
		for i := from; i < to; i++ {
			if err := list[i].Write(ctx, websocket.MessageText, []byte(fmt.Sprint(i))); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	say(0, clients/2)
	<-time.After(2 * idle) // the test is about the pause
	signal(syscall.SIGCONT)
	for range clients / 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	// Silent clients are still connected after the next pings.
	s.await("the loops have gone on", func(control.Status) bool { return true })
	say(clients/2, clients)
	for range clients / 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
