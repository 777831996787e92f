package traffic

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/ws"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSequence checks the verdict for every kind of disorder.
func TestSequence(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first uint64
		take  []uint64
		want  []verdict
		sent  uint64
		owed  uint64
	}{
		{"in order", 1, []uint64{1, 2, 3}, []verdict{inOrder, inOrder, inOrder}, 3, 0},
		{"any first number", 0, []uint64{7, 8}, []verdict{inOrder, inOrder}, 8, 0},
		{"nothing yet", 0, nil, nil, 8, 8},
		{"one is missing", 1, []uint64{1, 3}, []verdict{inOrder, jumped}, 3, 0},
		{"late", 1, []uint64{2, 1, 3}, []verdict{jumped, late, inOrder}, 3, 0},
		{"twice", 1, []uint64{1, 1}, []verdict{inOrder, doubled}, 1, 0},
		{"late twice", 1, []uint64{2, 1, 1}, []verdict{jumped, late, doubled}, 2, 0},
		{"before the first", 0, []uint64{7, 6}, []verdict{inOrder, doubled}, 7, 0},
		{"far", 1, []uint64{1 << 40, 1}, []verdict{wild, inOrder}, 2, 1},
		{"zero", 1, []uint64{0, 1}, []verdict{wild, inOrder}, 1, 0},
	} {
		s := sequence{next: tt.first}
		var got []verdict
		for _, n := range tt.take {
			v, _ := s.take(n)
			got = append(got, v)
		}
		if !slices.Equal(got, tt.want) || s.owed(tt.sent) != tt.owed {
			t.Errorf("%s: got %v, owed %d; want %v, %d", tt.name, got, s.owed(tt.sent), tt.want, tt.owed)
		}
	}
}

// TestMessage checks that a message survives any split, and that every flipped bit is detected.
func TestMessage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := newCorpus(rng)
	for _, op := range []ws.Opcode{ws.OpText, ws.OpBinary} {
		for size := range 80 {
			m := newMessage(op, 0xabc, 0xdef, c.body(rng, op, size))
			all := m.whole(nil)
			if op == ws.OpText && !utf8.Valid(all) {
				t.Fatalf("invalid UTF-8: %q", all)
			}
			cut := rng.IntN(len(all) + 1)
			pieces := make([]byte, len(all))
			m.copyTo(pieces[:cut], 0)
			m.copyTo(pieces[cut:], cut)
			if !bytes.Equal(all, pieces) {
				t.Fatalf("cut at %d: got %q, want %q", cut, pieces, all)
			}
			if sender, n, err := arrive(op, all, cut); err != nil || sender != 0xabc || n != 0xdef {
				t.Fatalf("got %x, %x, %v", sender, n, err)
			}
			all[rng.IntN(len(all))] ^= 1 << rng.IntN(8)
			if _, _, err := arrive(op, all, cut); err == nil {
				t.Fatalf("damaged: got no error for %q", all)
			}
		}
	}
}

func arrive(op ws.Opcode, b []byte, cut int) (sender uint32, n uint64, err error) {
	var a arrival
	a.begin(op)
	a.add(b[:cut])
	a.add(b[cut:])
	return a.open()
}

// TestHistogram checks the documented precision of percentiles.
func TestHistogram(t *testing.T) {
	for i := range buckets - 1 {
		if got := bucket(highest(i)); got != i {
			t.Fatalf("the highest of bucket %d is in bucket %d", i, got)
		}
	}
	h := new(histogram)
	if p := h.percentiles(); p != (Percentiles{}) {
		t.Errorf("empty: got %v", p)
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	p := h.percentiles()
	near := func(got time.Duration, ms int64) bool {
		return got.Milliseconds() >= ms && got.Milliseconds() <= ms*107/100
	}
	if p.Count != 1000 || p.Max != time.Second || !near(p.P50, 500) || !near(p.P99, 990) {
		t.Errorf("got %v", p)
	}
}

// TestCountState checks that the state of a connection on /count can be decoded, and that other data is rejected.
func TestCountState(t *testing.T) {
	want := count{opens: 1, messages: 1 << 40}
	if got, err := parseCount(want.append(nil)); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, n := range []int{0, 15, 17} {
		if _, err := parseCount(make([]byte, n)); err == nil {
			t.Errorf("%d bytes: got no error", n)
		}
	}
}

// idle returns a client without a connection, for faults that damage in transit cannot cause.
func idle(p player) *client {
	r := &Run{stopping: make(chan struct{})}
	r.window.Store(new(histogram))
	return r.newClient("idle", p)
}

// TestCount checks that a client notices if its state was not carried to the next process.
func TestCount(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count []byte // of the second message
		bad   uint64
	}{
		{"right", appendCount(nil, 2, 1), 0},
		{"began anew", appendCount(nil, 1, 0), 1},
		{"old state", appendCount(nil, 1, 1), 1},
		{"too many", appendCount(nil, 3, 1), 1},
		{"opened again", appendCount(nil, 2, 2), 1},
		{"not opened", appendCount(nil, 2, 0), 1},
		{"no count", nil, 1},
		{"failure", []byte(failure), 1},
	} {
		k := &counting{newEchoes(0, smallWindow, 0), ""}
		c := idle(k)
		for n, count := range [][]byte{appendCount(nil, 1, 1), tt.count} {
			k.sent++
			m := newMessage(ws.OpText, c.sender, uint64(n+1), []byte("x"))
			var a arrival
			a.begin(ws.OpText)
			a.add(m.whole(count))
			k.hear(c, &a)
		}
		if r := c.run.Snapshot(); r.Bad != tt.bad || r.Counted != 2-tt.bad {
			t.Errorf("%s: got %d bad, %d counted, want %d bad", tt.name, r.Bad, r.Counted, tt.bad)
		}
	}
}

// TestPongs checks that each ping requires exactly one pong with the same payload.
func TestPongs(t *testing.T) {
	for _, tt := range []struct {
		name         string
		pongs        []string
		good         uint64
		bad, doubled uint64
		owed         uint64
	}{
		{name: "right", pongs: []string{"ping"}, good: 1},
		{name: "none", owed: 1},
		{name: "twice", pongs: []string{"ping", "ping"}, good: 1, doubled: 1},
		{name: "another", pongs: []string{"pong"}, bad: 1, owed: 1},
	} {
		f := &fragmented{echoes: newEchoes(0, 1, 0), ping: []byte("ping")}
		c := idle(f)
		for _, p := range tt.pongs {
			c.on(ws.Event{Kind: ws.KindPong, Data: []byte(p)})
		}
		owed, _ := f.owed()
		if r := c.run.Snapshot(); r.Pongs != tt.good || r.Bad != tt.bad || r.Doubled != tt.doubled || owed != tt.owed {
			t.Errorf("%s: got %+v, owed %d", tt.name, r, owed)
		}
	}
	c := idle(&small{echoes: newEchoes(0, smallWindow, 0)})
	c.on(ws.Event{Kind: ws.KindPong})
	if r := c.run.Snapshot(); r.Bad != 1 {
		t.Errorf("not asked for: got %+v", r)
	}
}

// TestDirectedID checks that a repeated id, as from a second Open callback, counts as bad, and so does a message for
// another client.
func TestDirectedID(t *testing.T) {
	id := []byte("0123456789abcdef")
	foreign := letterJSON{To: "somebody", N: 1, From: 1}
	foreign.CRC = foreign.sum()
	text, err := json.Marshal(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"id again": id, "for somebody else": text, "failure": []byte(failure)} {
		d := newDirected("a")
		c := idle(d)
		d.sent = 1
		for _, b := range [][]byte{id, b} {
			var a arrival
			a.begin(ws.OpText)
			a.add(b)
			d.hear(c, &a)
		}
		if r := c.run.Snapshot(); r.Bad != 1 || r.Directed != 0 {
			t.Errorf("%s: got %+v, want one bad", name, r)
		}
	}
}
