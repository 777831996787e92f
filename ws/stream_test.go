package ws

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// testKey masks every frame of the tests. Its four bytes differ, so that a wrong rotation shows.
const testKey = 0xd4c3b2a1

// reporter has the methods that testing.T and rapid.T share.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// frame returns a frame as the peer of role sends it.
func frame(role Role, fin bool, op Opcode, payload string) []byte {
	h := Header{Fin: fin, Opcode: op, Masked: role == Server, Length: uint64(len(payload))}
	return rawFrame(h, payload)
}

// rawFrame returns a frame with the given header, masked with testKey if the header says so.
func rawFrame(h Header, payload string) []byte {
	if h.Masked {
		h.Key = testKey
	}
	b := AppendHeader(nil, h)
	at := len(b)
	b = append(b, payload...)
	if h.Masked {
		Mask(b[at:], h.Key, 0)
	}
	return b
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// transcript is what a Reader made of a stream, in a form that does not depend on how the stream was cut.
type transcript struct {
	events  []string // complete messages and control frames
	partial []byte   // the start of a message that is incomplete
	err     *ProtocolError
	low, at int // the error came with the bytes [low, at) of the stream
}

// play feeds stream to a Reader, cut at the given offsets. With restore, a new Reader continues from the state at each
// cut.
func play(t reporter, cfg *ReaderConfig, stream []byte, cuts []int, restore bool) transcript {
	t.Helper()
	var (
		r    Reader
		got  transcript
		open bool
		low  int
	)
	for _, cut := range append(slices.Clone(cuts), len(stream)) {
		in := slices.Clone(stream[low:cut])
		for more := true; more; {
			ev, rest, err := r.Next(in, cfg)
			if len(rest) > len(in) {
				t.Fatalf("got %d bytes left of %d", len(rest), len(in))
			}
			if err != nil {
				if got.err != nil || !errors.As(err, &got.err) || len(rest) != 0 || ev.Kind != KindNeedMore {
					t.Fatalf("got %v after %v, %d bytes left, event %v", err, got.err, len(rest), ev)
				}
				got.low, got.at = low, cut
			}
			if ev.Kind == KindNeedMore && len(rest) != 0 {
				t.Fatalf("got %d bytes left with KindNeedMore", len(rest))
			}
			got.add(t, &ev, &open)
			in, more = rest, len(rest) > 0
		}
		if restore {
			r = reload(t, &r)
		}
		low = cut
	}
	return got
}

// reload saves the state of r and loads it into another Reader, which must then have the same state.
func reload(t reporter, r *Reader) Reader {
	t.Helper()
	state := r.AppendState([]byte("before"))
	var fresh Reader
	if err := fresh.LoadState(state[len("before"):]); err != nil {
		t.Fatalf("got %v, want the state %x to load", err, state)
	}
	if again := fresh.AppendState([]byte("before")); !bytes.Equal(again, state) {
		t.Fatalf("got state %x, want %x", again, state)
	}
	return fresh
}

func (tr *transcript) add(t reporter, ev *Event, open *bool) {
	t.Helper()
	switch ev.Kind {
	case KindNeedMore:
	case KindPing:
		tr.events = append(tr.events, fmt.Sprintf("ping %q", ev.Data))
	case KindPong:
		tr.events = append(tr.events, fmt.Sprintf("pong %q", ev.Data))
	case KindClose:
		tr.events = append(tr.events, fmt.Sprintf("close %d %q", ev.Code, ev.Data))
	case KindData:
		if ev.First == *open {
			t.Fatalf("got First %v, want %v", ev.First, !*open)
		}
		if ev.First {
			tr.partial = append(tr.partial[:0], ev.Opcode.String()...)
			if ev.Compressed {
				tr.partial = append(tr.partial, " compressed"...)
			}
			tr.partial = append(tr.partial, ' ')
		} else if !bytes.HasPrefix(tr.partial, []byte(ev.Opcode.String())) {
			t.Fatalf("got a piece of %v in %.20q", ev.Opcode, tr.partial)
		}
		tr.partial = append(tr.partial, ev.Data...)
		*open = !ev.Last
		if ev.Last {
			tr.events = append(tr.events, string(tr.partial))
			tr.partial = nil
		}
	}
}

// bytewise returns the transcript of stream fed byte by byte, which is the reference for all other cuts.
func bytewise(t reporter, cfg *ReaderConfig, stream []byte) transcript {
	t.Helper()
	cuts := make([]int, 0, len(stream))
	for i := 1; i < len(stream); i++ {
		cuts = append(cuts, i)
	}
	return play(t, cfg, stream, cuts, false)
}

// same compares got with the reference: the events, the error, and the byte with which the error came.
func same(t reporter, got, want transcript) {
	t.Helper()
	if !slices.Equal(got.events, want.events) {
		t.Fatalf("got events %.200q, want %.200q", got.events, want.events)
	}
	if got.err != want.err {
		t.Fatalf("got error %v, want %v", got.err, want.err)
	}
	if want.err == nil {
		if !bytes.Equal(got.partial, want.partial) {
			t.Fatalf("got partial message %.100q, want %.100q", got.partial, want.partial)
		}
		return
	}
	if got.low >= want.at || got.at < want.at {
		t.Fatalf("got error within bytes %d to %d, want it at byte %d", got.low, got.at, want.at)
	}
	if !bytes.HasPrefix(want.partial, got.partial) {
		t.Fatalf("got partial message %.100q, want a prefix of %.100q", got.partial, want.partial)
	}
}
