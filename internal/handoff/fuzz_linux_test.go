package handoff

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// script is a list of frames in the encoding of the fuzzer: kind, descriptors and loss, length, payload.
func script(b []byte) (list []fdpass.Frame, fds []int) {
	for len(b) >= 3 && len(list) < 64 {
		fr := fdpass.Frame{Kind: b[0] % (kindLast + 2), Lost: int(b[1] >> 7)}
		n := min(int(b[2]), len(b)-3)
		fr.Payload = b[3 : 3+n : 3+n]
		fds = append(fds, int(b[1]&1))
		list, b = append(list, fr), b[3+n:]
	}
	return list, fds
}

// entry is one frame of a script.
func entry(kind byte, fds byte, payload []byte) []byte {
	return append([]byte{kind, fds, byte(len(payload))}, payload...)
}

func seeds(f *testing.F) {
	hello := entry(kindHello, 0, Hello{StateMin: 1, StateMax: 1, FreeFDs: 1 << 20}.append(nil))
	batch := func(no uint32, id uint64) []byte {
		c := BatchData{States: binary.LittleEndian.AppendUint64(nil, id)}
		return entry(kindBatch, 1, appendBatch(nil, no, 1, c))
	}
	join := func(list ...[]byte) (b []byte) {
		for _, e := range list {
			b = append(b, e...)
		}
		return b
	}
	ack, end := entry(kindAck, 0, numbered(1)), entry(kindEnd, 0, make([]byte, 8))
	got, last := entry(kindGot, 0, nil), entry(kindLast, 0, nil)
	for _, gave := range []bool{false, true} {
		f.Add(gave, false, join(hello, ack, got))
		f.Add(gave, false, join(hello, entry(kindNack, 0, numbered(1)), end, last))
		f.Add(gave, true, join(hello, ack, got, batch(1, 500), end, last))
		f.Add(gave, false, join(hello, batch(1, 500), entry(kindForward, 0, message(500, "x")), end, last))
		f.Add(gave, false, join(hello, batch(1, 500), batch(2, 500), entry(kindRevert, 0, []byte("no")), ack, end, got))
		f.Add(gave, false, join(hello, batch(1, 500), end, entry(kindRevert, 0, []byte("no")), ack, got))
	}
}

// FuzzHandle: whatever a peer sends, there is no panic, no leak, one owner and one outcome.
func FuzzHandle(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, gave, stall bool, b []byte) {
		n := 0
		if gave {
			n = 3
		}
		w := newWorld(t, n)
		ours, theirs := pair(t)
		p := newPeer(t, theirs)
		h := w.taker
		if gave {
			h = w.giver
			w.give(ours)
		} else {
			w.take(ours)
		}
		drained := make(chan struct{})
		go func() { // ends with the channel: only the script answers
			defer close(drained)
			for {
				fr, err := p.conn.Read()
				if err != nil {
					return
				}
				closeAll(fr.FDs)
			}
		}()
		list, fds := script(b)
		for i, fr := range list {
			for range fds[i] {
				fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
				if err != nil {
					t.Fatal(err)
				}
				fr.FDs = append(fr.FDs, fd)
			}
			h.end.receive(&fr, nil)
			if stall && i == len(list)/2 {
				w.clock.Add(int64(defaultStall))
				h.do(t, h.end.Tick)
			}
		}
		h.do(t, h.end.Settle) // has an effect in one state only
		h.do(t, func() {
			if h.end.role == roleDone && len(h.end.flight) > 0 {
				t.Errorf("%d batches are under way after the end", len(h.end.flight))
			}
		})
		p.close()
		w.wait()
		<-drained
		h.do(t, func() {
			if n := len(h.given) + len(h.taken); n != 1 {
				t.Errorf("%d outcomes, want 1: %v", n, h.events)
			}
		})
	})
}
