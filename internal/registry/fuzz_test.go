package registry

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// fuzzJournal is a journal that all executions share.
func fuzzJournal(f *testing.F) *telemetry.Journal {
	f.Helper()
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 100})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(j.Close)
	return j
}

// FuzzClientServe: whatever the primary asks, a worker answers once, or never if it is a notice. The operations that
// take nothing, or call back to the primary, are left out.
func FuzzClientServe(f *testing.F) {
	journal := fuzzJournal(f)
	order, err := feedEntry(denylist.Entry{Kind: denylist.User, Value: "alice", Until: time.Unix(2_000_000_000, 0)})
	if err != nil {
		f.Fatal(err)
	}
	denials := denylist.Append(nil, denylist.Entry{Kind: denylist.User, Value: "bob", Until: time.Unix(2_000_000_000, 0)})
	f.Add(byte(opOrder), order)
	f.Add(byte(opDenials), append(denials, denials...))
	f.Add(byte(opHealth), []byte(`{}`))
	f.Add(byte(opLive), []byte(`{}`))
	f.Add(byte(opCount), []byte(nil))
	f.Add(byte(opStore), []byte("x"))
	f.Add(byte(255), []byte(`{}`))
	f.Fuzz(func(t *testing.T, op byte, payload []byte) {
		switch op {
		case opGreet, opFollow, opProfile, opReopen, opReport:
			return
		}
		conns := new(connections)
		c := NewClient(ClientConfig{
			Send: func([]byte) error { return nil }, Journal: journal, Deny: &denylist.List{Max: 10}, Connections: conns,
			Drain: func(Drain) {},
		})
		defer c.Close()
		answers := 0
		c.serve(op, payload, func([]byte, error) { answers++ })
		if answers > 1 || op != opHealth && op != opDrain && op != opProfileEnd && answers == 0 {
			t.Fatalf("operation %d: %d answers", op, answers)
		}
		if conns.orders.Load() > 0 && (op != opOrder || !json.Valid(payload)) {
			t.Fatalf("operation %d: %q was carried out as an order", op, payload)
		}
	})
}

// FuzzParseDenials: a list that is accepted can be written again, and means the same.
func FuzzParseDenials(f *testing.F) {
	one := denylist.Append(nil, denylist.Entry{Kind: denylist.User, Value: "bob", Until: time.Unix(2_000_000_000, 0)})
	f.Add(append(one, one...))
	f.Add(one[:len(one)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseDenials(b)
		if err != nil {
			return
		}
		var written []byte
		for _, d := range list {
			written = denylist.Append(written, d)
		}
		again, err := parseDenials(written)
		if err != nil || len(again) != len(list) {
			t.Fatalf("got %d denials, %v, want %d", len(again), err, len(list))
		}
		for i := range again {
			if again[i].Kind != list[i].Kind || again[i].Value != list[i].Value || !again[i].Until.Equal(list[i].Until) {
				t.Fatalf("got %+v, want %+v", again[i], list[i])
			}
		}
	})
}
