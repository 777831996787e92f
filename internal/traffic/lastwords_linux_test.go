package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/expedite-go/expedite/ws"
)

const (
	// lastWordsSize exceeds the socket buffers: the rest waits in the server's queue, with the close frame behind it.
	lastWordsSize = 256 << 10
	// lastWordsDelay bounds the time from the close frame to the end of the connection. It is below the server's
	// CloseTimeout of 30 s, which ends the connection in any case.
	lastWordsDelay = 20 * time.Second
)

// lastWords moves connections in the middle of the closing handshake: the client has sent its close frame, and the
// server's is queued behind an echo that the client has not read.
func lastWords(s *server, _ *Run) error {
	links := make([]*link, 10)
	for i := range links {
		l := &link{control: narrow, gone: make(chan struct{}), rng: rand.New(rand.NewPCG(5, uint64(i)))}
		ctx, cancel := context.WithTimeout(context.Background(), forever)
		err := l.open(ctx, s.addr, pathLast, cut{})
		cancel()
		if err != nil {
			return err
		}
		defer l.nc.Close()
		if err := l.send(ws.OpBinary, make([]byte, lastWordsSize), cut{}); err != nil {
			return err
		}
		if err := l.close(ws.CloseNormal); err != nil {
			return err
		}
		links[i] = l
	}
	until(s.t, "end of reading", func() bool {
		return s.status().Totals.BytesIn >= uint64(len(links))*lastWordsSize
	})
	if _, err := s.reload(quiet); err != nil {
		return err
	}
	var err error
	for i, l := range links {
		if fault := l.hearOut(); fault != nil {
			err = errors.Join(err, fmt.Errorf("connection %d: %w", i, fault))
		}
	}
	return err
}

// hearOut reads an echo, the close frame and the end of the connection.
func (l *link) hearOut() error {
	_ = l.nc.(*net.TCPConn).SetReadBuffer(1 << 20)
	_ = l.nc.SetReadDeadline(time.Now().Add(forever))
	size := 0
	var closed time.Time
	end := l.listen(nil, func(ev ws.Event) {
		size += len(ev.Data)
		if ev.Kind == ws.KindClose {
			size, closed = size-len(ev.Data), time.Now()
		}
	})
	switch took := time.Since(closed); {
	case size != lastWordsSize || closed.IsZero():
		return fmt.Errorf("%d bytes, close frame: %v, then %w", size, !closed.IsZero(), end)
	case took > lastWordsDelay:
		return fmt.Errorf("the connection ended %v after the close frame", took)
	}
	return nil
}
