package handoff

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
)

func TestHelloTravels(t *testing.T) {
	for _, h := range []Hello{
		{protocol: protocol},
		{protocol: protocol, StateMin: 1, StateMax: 2, FreeFDs: 3, Position: 4, Build: "v1.2.3"},
		{protocol: protocol, StateMin: 1, StateMax: math.MaxUint16, FreeFDs: math.MaxUint32, Position: math.MaxUint64},
	} {
		got, err := parseHello(h.append(nil))
		if err != nil || got != h {
			t.Errorf("got %+v, %v, want %+v", got, err, h)
		}
	}
}

// TestHelloOfAllProtocols: this build understands those since the first one, and later ones.
func TestHelloOfAllProtocols(t *testing.T) {
	for _, v := range []byte{protocolMin, protocol, protocol + 1} {
		b := Hello{}.append(nil)
		b[0] = v
		if h, err := parseHello(b); err != nil || h.protocol != uint16(v) {
			t.Errorf("protocol %d: got %+v, %v", v, h, err)
		}
	}
}

func TestAckTravels(t *testing.T) {
	most := Refusal{Places: []int{0, 1, 2, 3, 4, 5, 6, 7}, Reason: "as many as may be"}
	if len(most.Places) != maxRefused {
		t.Fatalf("%d places, want %d", len(most.Places), maxRefused)
	}
	for _, want := range []Refusal{{}, {Places: []int{0}, Reason: "bad"}, {Places: []int{1, 5, 63}}, most} {
		no, rest, err := number(appendAck(nil, 7, want))
		got, err2 := parseRefusal(rest, 64)
		if err != nil || err2 != nil || no != 7 || !slices.Equal(got.Places, want.Places) || got.Reason != want.Reason {
			t.Errorf("got %d, %+v, %v, %v, want %+v", no, got, err, err2, want)
		}
	}
	for _, b := range [][]byte{
		{0}, {1}, {1, 0}, {1, 64, 0}, {2, 3, 0, 3, 0}, {2, 3, 0, 2, 0}, {2, 3, 0, 2}, bytes.Repeat([]byte{maxRefused + 1}, 99),
	} {
		if got, err := parseRefusal(b, 64); !errors.Is(err, errFrame) {
			t.Errorf("%v: got %+v, %v, want %v", b, got, err, errFrame)
		}
	}
}

func TestHelloOfAnEarlierProtocolIsRefused(t *testing.T) {
	if _, err := parseHello(make([]byte, 18)); !errors.Is(err, errVersion) {
		t.Errorf("protocol 0: %v, want %v", err, errVersion)
	}
	if _, err := parseHello(Hello{}.append(nil)[:17]); !errors.Is(err, errFrame) {
		t.Errorf("17 bytes: %v, want %v", err, errFrame)
	}
}

func TestCommonVersionIsTheLatestOfBoth(t *testing.T) {
	for _, tt := range []struct{ a, b, c, d, want uint16 }{
		{1, 1, 1, 1, 1}, {1, 3, 2, 5, 3}, {2, 5, 1, 3, 3}, {1, 1, 2, 2, 0}, {2, 2, 1, 1, 0}, {1, 9, 4, 4, 4},
	} {
		got, err := common(Hello{StateMin: tt.a, StateMax: tt.b}, Hello{StateMin: tt.c, StateMax: tt.d})
		if got != tt.want || errors.Is(err, errVersion) != (tt.want == 0) {
			t.Errorf("%v: got %d, %v", tt, got, err)
		}
	}
}

func TestBatchTravels(t *testing.T) {
	c := BatchData{States: []byte("states"), FDs: []int{1, 2}, Position: math.MaxUint64}
	b := appendBatch(nil, math.MaxUint32, math.MaxInt64, c)
	no, at, got, err := parseBatch(b, c.FDs)
	if err != nil || no != math.MaxUint32 || at != math.MaxInt64 || !bytes.Equal(got.States, c.States) ||
		got.Position != c.Position || len(got.FDs) != 2 {
		t.Errorf("got %d, %d, %+v, %v", no, at, got, err)
	}
	if _, _, got, err := parseBatch(b[:20], nil); err != nil || len(got.States) != 0 {
		t.Errorf("no states: got %+v, %v", got, err)
	}
	if _, _, _, err := parseBatch(b[:19], nil); !errors.Is(err, errFrame) {
		t.Errorf("19 bytes: %v", err)
	}
	if _, _, _, err := parseBatch(appendBatch(nil, 1, -1, c), nil); !errors.Is(err, errFrame) {
		t.Errorf("a time before the clock's begin: %v", err)
	}
}

func FuzzParseHello(f *testing.F) {
	f.Add(Hello{StateMin: 1, StateMax: 2, FreeFDs: 3, Position: 4, Build: "x"}.append(nil))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		if again, err := parseHello(h.append(nil)); err != nil || again != h {
			t.Errorf("got %+v, %v, want %+v", again, err, h)
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	f.Add(appendBatch(nil, 1, 2, BatchData{States: []byte("x"), Position: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		no, at, c, err := parseBatch(b, nil)
		if err != nil {
			return
		}
		if again := appendBatch(nil, no, at, c); !bytes.Equal(again, b) {
			t.Errorf("got %x, want %x", again, b)
		}
	})
}
