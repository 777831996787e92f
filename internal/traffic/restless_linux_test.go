package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// restless starts n clients that repeatedly connect and leave: with a reset, without a close frame, with a close frame
// whose answer they do not await, or in the middle of a frame or a request, or before it. The returned function stops
// them and returns the number of connections that they made.
func (s *server) restless(n int) (stop func() int) {
	stopping := make(chan struct{})
	var work sync.WaitGroup
	var came atomic.Int64
	for i := range n {
		work.Go(func() { // ends with stop
			rng := rand.New(rand.NewPCG(2, uint64(i)))
			for turn := i; ; turn++ {
				select {
				case <-stopping:
					return
				default:
				}
				if err := s.visit(rng, turn, stopping); err != nil {
					s.t.Errorf("restless client: %v", err)
					return
				}
				came.Add(1)
			}
		})
	}
	return func() int {
		close(stopping)
		work.Wait()
		return int(came.Load())
	}
}

// visit runs one connection of a restless client.
func (s *server) visit(rng *rand.Rand, turn int, stop <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), forever)
	defer cancel()
	if turn%6 == 0 { // no handshake, or half of one
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
		if err != nil {
			return err
		}
		if turn%12 == 0 {
			_, _ = nc.Write([]byte("GET /echo HTTP/1.1\r\nHost: "))
		}
		(&link{stop: stop, gone: make(chan struct{})}).pause(rng, 5*time.Millisecond)
		reset(nc)
		return nil
	}
	l := &link{stop: stop, gone: make(chan struct{}), rng: rng}
	path := [...]string{pathEcho, pathWork, pathCount, pathUser, pathTopic + "?topic=restless"}[rng.IntN(5)]
	if err := l.open(ctx, s.addr, path, cut{}); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	for range rng.IntN(4) {
		_ = l.send(ws.OpText, []byte("going soon"), cut{})
	}
	if path == pathEcho { // unread answers fill the queue
		_ = l.send(ws.OpBinary, make([]byte, 1<<17), cut{})
	}
	l.pause(rng, 10*time.Millisecond)
	switch turn % 6 {
	case 1:
		reset(l.nc)
		return nil
	case 2:
		_ = l.close(ws.CloseGoingAway)
	case 3:
		_ = l.close(ws.CloseNormal)
		reset(l.nc)
		return nil
	case 4: // half a frame
		l.out = ws.AppendMaskedFrame(nil, ws.OpBinary, 1, make([]byte, 1000))
		_, _ = l.nc.Write(l.out[:500])
	}
	return l.nc.Close()
}
