package cluster

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// read handles the frames of a worker until its end of the link is closed. It runs on a goroutine of its own, and
// closes finished before it returns.
func (s *supervisor) read(w *Worker, finished chan<- struct{}) {
	defer close(finished)
	err := w.link.read(func(f fdpass.Frame) { s.receive(w, f) })
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
		s.cfg.Logger.Warn("connection to worker broke", "worker", w.slot, "error", err)
	}
	w.link.close()
	s.loop.post(func() { s.disconnected(w) })
}

// receive handles one frame of a worker. It runs on the goroutine that reads from it.
func (s *supervisor) receive(w *Worker, f fdpass.Frame) {
	if f.Kind != kindHandle {
		closeFDs(f.FDs) // no other kind has descriptors
	}
	switch f.Kind {
	case kindHandle:
		s.receiveHandle(w, f)
	case kindOnline:
		// Waiting here makes EventOnline come before the messages, which this goroutine reads next.
		s.loop.call(func() { s.emit(Event{Kind: EventOnline, Worker: w}) })
	case kindLeave:
		s.loop.post(func() { w.left = true })
	case kindListening:
		if addr, ok := parseAddr(f.Payload); ok {
			s.loop.post(func() { s.emit(Event{Kind: EventListening, Worker: w, Addr: addr}) })
		}
	case kindListen:
		s.shared.serve(w, f.Payload)
	case kindUnlisten:
		s.shared.leave(w.id, string(f.Payload))
	case kindMoving, kindGiven, kindTaken, kindStuck:
		s.moves.receive(w, f)
	case kindMessage:
		if s.cfg.OnMessage != nil {
			s.cfg.OnMessage(w, f.Payload)
		}
	case kindReady:
		s.loop.post(func() { s.ready(w) })
	case kindAck:
		if n := len(f.Payload); n >= 6 { // early releases repeat the whole head of the batch
			s.disp.ack(w, binary.LittleEndian.Uint32(f.Payload), int(binary.LittleEndian.Uint16(f.Payload[n-2:])))
		}
	case kindReport:
		if len(f.Payload) < 8 {
			return
		}
		s.disp.report(w, int64(binary.LittleEndian.Uint64(f.Payload)))
		w.reports.Add(1)
		if s.cfg.OnReport != nil {
			s.cfg.OnReport(w, f.Payload[8:])
		}
	}
}

// receiveHandle passes a handle from a worker to Config.OnHandle.
func (s *supervisor) receiveHandle(w *Worker, f fdpass.Frame) {
	m, h := parseHandle(f)
	if h == nil || s.cfg.OnHandle == nil {
		s.handlesLost.Add(1)
	}
	switch {
	case s.cfg.OnHandle != nil:
		s.cfg.OnHandle(w, m, h)
	case h != nil:
		_ = h.Close()
	}
}
