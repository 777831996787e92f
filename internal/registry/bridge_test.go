package registry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// slowBridge listens when ready is called, which the test does.
type slowBridge struct {
	ready func(error)
	ended int
}

func (b *slowBridge) Open(_ []string, _ bool, ready func(error)) { b.ready = ready }

func (b *slowBridge) Close() error { b.ended++; return nil }

// TestBridgeThatOpensTooLate: a bridge that does not listen in time is ended, as nobody would end it later.
func TestBridgeThatOpensTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "")
		_, c, _ := join(t, s)
		b := new(slowBridge)
		c.Bridge = b
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if worker, err := s.OpenBridge(ctx, []string{"t"}); worker != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got worker %d, %v, want that it took too long", worker, err)
		}
		synctest.Wait()
		b.ready(nil) // nobody waits for it
		synctest.Wait()
		if b.ended != 1 {
			t.Errorf("the bridge was ended %d times, want once", b.ended)
		}
	})
}
