package ws

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// maxExhaustive is the maximum length of streams that are cut at every byte. Longer ones are cut around the places that
// matter.
const maxExhaustive = 400

func TestReaderResumesAtEveryByte(t *testing.T) {
	for _, r := range conformance() {
		if len(r.stream) > maxExhaustive {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			want := bytewise(t, &r.cfg, r.stream)
			all := make([]int, 0, len(r.stream))
			for cut := range len(r.stream) + 1 {
				same(t, play(t, &r.cfg, r.stream, []int{cut}, true), want)
				all = append(all, cut)
			}
			same(t, play(t, &r.cfg, r.stream, all, true), want)
		})
	}
}

func TestReaderResumesAtAnyTwoBytes(t *testing.T) {
	stream := join(frame(Server, false, OpText, "h\xc3"), frame(Server, true, OpPing, "pp"),
		frame(Server, true, OpContinuation, "\xa9!"), frame(Server, true, OpClose, "\x03\xe8é"))
	cfg := &ReaderConfig{}
	want := bytewise(t, cfg, stream)
	for a := range len(stream) + 1 {
		for b := a; b <= len(stream); b++ {
			same(t, play(t, cfg, stream, []int{a, b}, true), want)
		}
	}
}

// drawStream draws a stream that is mostly valid: complete messages and control frames, sometimes followed by noise.
func drawStream(t *rapid.T, role Role) []byte {
	var stream []byte
	for range rapid.IntRange(1, 6).Draw(t, "messages") {
		op := rapid.SampledFrom([]Opcode{OpText, OpText, OpBinary}).Draw(t, "opcode")
		payload := rapid.SampledFrom([]string{
			"", "a", "grüße €\U0001f600", "\xed\xa0", string(bytes.Repeat([]byte("é"), 70)),
			string(bytes.Repeat([]byte("z"), 300)),
		}).Draw(t, "payload")
		for fin := false; !fin; op = OpContinuation {
			n := rapid.IntRange(0, len(payload)).Draw(t, "fragment")
			fin = rapid.Bool().Draw(t, "fin")
			if fin {
				n = len(payload)
			}
			stream = append(stream, frame(role, fin, op, payload[:n])...)
			payload = payload[n:]
			if rapid.IntRange(0, 3).Draw(t, "control") == 0 {
				control := rapid.SampledFrom([]Opcode{OpPing, OpPong}).Draw(t, "control opcode")
				stream = append(stream, frame(role, true, control, payload[:min(len(payload), maxControl)])...)
			}
		}
	}
	if rapid.Bool().Draw(t, "close") {
		stream = append(stream, frame(role, true, OpClose, "\x03\xe8bye")...)
	}
	return append(stream, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "noise")...)
}

func TestReaderResumesWhereverAStreamIsCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := &ReaderConfig{
			Role:         rapid.SampledFrom([]Role{Server, Client}).Draw(rt, "role"),
			MaxMessage:   rapid.SampledFrom([]int64{0, 200}).Draw(rt, "limit"),
			MaxFragments: rapid.SampledFrom([]int{0, 4}).Draw(rt, "fragments"),
			Compression:  rapid.Bool().Draw(rt, "compression"),
		}
		stream := drawStream(rt, cfg.Role)
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 12).Draw(rt, "cuts")
		slices.Sort(cuts)
		want := bytewise(rt, cfg, stream)
		same(rt, play(rt, cfg, stream, cuts, true), want)
		same(rt, play(rt, cfg, stream, cuts, false), want)
	})
}
