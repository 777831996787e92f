package ws

import (
	"bytes"
	"slices"
	"testing"
)

// fuzzConfig returns one of the configurations of a Reader.
func fuzzConfig(b byte) *ReaderConfig {
	cfg := &ReaderConfig{Role: Role(b & 1), Compression: b&2 != 0}
	if b&4 != 0 {
		cfg.MaxMessage, cfg.MaxFragments = 100, 3
	}
	return cfg
}

// FuzzReader verifies that no stream does harm, and that its meaning does not depend on how it is cut.
func FuzzReader(f *testing.F) {
	for i, r := range conformance() {
		if len(r.stream) < maxExhaustive {
			f.Add(r.stream, byte(i), uint16(i*7), uint16(i*11))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, config byte, a, b uint16) {
		cfg := fuzzConfig(config)
		want := bytewise(t, cfg, stream)
		cuts := []int{int(a) % (len(stream) + 1), int(b) % (len(stream) + 1)}
		slices.Sort(cuts)
		same(t, play(t, cfg, stream, nil, false), want)
		same(t, play(t, cfg, stream, cuts, true), want)
	})
}

// FuzzLoadState verifies that any bytes are either refused or make a Reader like any other: its state loads again to
// the same Reader, and it accepts any stream.
func FuzzLoadState(f *testing.F) {
	for _, s := range snapshots() {
		var r Reader
		for in := slices.Clone(s.fed); len(in) > 0; {
			_, in, _ = r.Next(in, &s.cfg)
		}
		f.Add(r.AppendState(nil), s.rest, byte(0))
	}
	f.Fuzz(func(t *testing.T, state, stream []byte, config byte) {
		var r Reader
		if r.LoadState(state) != nil {
			if r != (Reader{}) {
				t.Fatalf("got a changed Reader %+v from a state that was refused", r)
			}
			return
		}
		written := r.AppendState(nil)
		var again Reader
		if err := again.LoadState(written); err != nil || !bytes.Equal(again.AppendState(nil), written) {
			t.Fatalf("got %v, want %x to load and to be written again", err, written)
		}
		cfg := fuzzConfig(config)
		for in := slices.Clone(stream); len(in) > 0; {
			ev, rest, err := r.Next(in, cfg)
			if len(rest) > len(in) || len(ev.Data) > max(len(in), maxControl) || err != nil && len(rest) > 0 {
				t.Fatalf("got %d bytes of data and %d left of %d, %v", len(ev.Data), len(rest), len(in), err)
			}
			if len(rest) == len(in) && ev.Kind == KindNeedMore {
				t.Fatal("got no progress")
			}
			in = rest
		}
		reload(t, &r)
	})
}
