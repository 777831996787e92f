package memstore_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
)

// heap returns the number of bytes in use on the heap.
func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalized
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// TestBudget: the only session of a named user, with parameters that many sessions share, takes at most 200 bytes. The
// bound is higher, as tables may just have doubled.
func TestBudget(t *testing.T) {
	const sessions, bound = 100_000, 300
	m := memstore.New(memstore.Config{})
	devices := []map[string]string{{"device": "phone"}, {"device": "tablet"}, nil}
	before := heap()
	for i := range sessions {
		_, err := m.Attach(t.Context(), session.Attach{
			User:   fmt.Sprintf("user-%09d", i),
			Params: devices[i%len(devices)],
			Place:  session.Place{Node: "0123456789abcdef", Conn: uint64(i + 1)},
			Policy: session.Policy{MaxPerUser: 10},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / sessions
	t.Logf("%d bytes for each of %d sessions", each, sessions)
	if each > bound {
		t.Errorf("got %d bytes a session, want at most %d", each, bound)
	}
	runtime.KeepAlive(m)
}

// TestReuse: the memory of removed sessions is used again, and the counters return to zero.
func TestReuse(t *testing.T) {
	c := fakeclock.New()
	m := memstore.New(memstore.Config{Now: c.Now})
	var grown []int
	for round := range 6 {
		for i := range 5000 {
			a, err := m.Attach(t.Context(), session.Attach{
				User: fmt.Sprint("user", round, i%2500), Params: map[string]string{"n": fmt.Sprint(round, i)},
				Place: session.Place{Node: fmt.Sprint("node", i%7), Conn: uint64(i + 1)},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Save(t.Context(), a.Session.ID, session.Changes{"k": {1}}); err != nil {
				t.Fatal(err)
			}
			if err := m.PutTicket(t.Context(), sha256.Sum256(a.Session.ID[:]), []byte("x"), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		c.Advance(2 * time.Hour)
		for range 20 {
			m.Sweep(1000) // a part at a time
		}
		grown = append(grown, heap())
	}
	got := m.Stats()
	if want := (memstore.Stats{Expired: 30_000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if first, last := grown[1], grown[len(grown)-1]; last > first+first/2 {
		t.Errorf("the heap grew from %d to %d bytes", first, last)
	}
	runtime.KeepAlive(m)
}

// idOf returns the id of a user's session whose random bytes are all b.
func idOf(user string, b byte) session.ID {
	var id session.ID
	sum := sha256.Sum256([]byte("user\x00" + user))
	copy(id[:], sum[:8])
	copy(id[8:], bytes.Repeat([]byte{b}, 16))
	return id
}

// golden returns the sessions in testdata/state-v1.bin. Every release must be able to read what any release with this
// version of the state has written.
func golden() []session.Saved {
	at := fakeclock.New().Now()
	return []session.Saved{
		{Session: session.Session{
			ID: idOf("alice", 1), User: "alice", Params: map[string]string{"app": "1.2", "device": "phone"},
			Created: at.Add(-time.Hour), Seen: at, TTL: 2 * time.Hour, Place: session.Place{Node: "n1", Conn: 1<<63 + 7},
		}, Values: map[string][]byte{"cart": []byte("three"), "empty": {}, "raw": {0, 255}}},
		{Session: session.Session{
			ID: idOf("alice", 2), User: "alice", Created: at.Add(-time.Minute), Seen: at, TTL: time.Hour,
		}, Values: map[string][]byte{}},
		{Session: session.Session{
			ID: idOf("no user of this name", 3), Created: at, Seen: at, TTL: session.MaxTTL,
			Place: session.Place{Node: "n2", Conn: 9},
		}, Values: map[string][]byte{}},
	}
}

// TestStateGolden: the state of version 1 is read as ever, and written in the same way.
func TestStateGolden(t *testing.T) {
	const path = "testdata/state-v1.bin"
	c := fakeclock.New()
	m := memstore.New(memstore.Config{Now: c.Now})
	if _, err := m.Restore(t.Context(), golden()); err != nil {
		t.Fatal(err)
	}
	if err := m.PutTicket(t.Context(), [32]byte{1, 2, 3}, []byte("ticket"), time.Minute); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := written(m); !bytes.Equal(got, file) {
		t.Errorf("what is written differs from %s:\ngot  %x\nwant %x", path, got, file)
	}
	next := memstore.New(memstore.Config{Now: c.Now})
	if err := next.ReadState(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	for _, want := range golden() {
		if found := find(t, next, want.ID); !reflect.DeepEqual(found, want.Session) {
			t.Errorf("got  %+v\nwant %+v", found, want.Session)
		}
		values, err := next.Load(t.Context(), want.ID)
		if err != nil || !reflect.DeepEqual(values, want.Values) {
			t.Errorf("values: got %q, %v, want %q", values, err, want.Values)
		}
	}
	if v, err := next.TakeTicket(t.Context(), [32]byte{1, 2, 3}); err != nil || string(v) != "ticket" {
		t.Errorf("ticket: got %q, %v", v, err)
	}
}
