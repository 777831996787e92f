package access

import (
	"errors"
	"testing"

	"github.com/expedite-go/expedite/session"
)

// FuzzParseRecord: a record of another process is refused or makes a Client whose own record makes the same one.
func FuzzParseRecord(f *testing.F) {
	c := &Client{Query: "a=1", extra: &extra{values: []string{"7", ""}, subprotocol: "v2"}}
	c.details.Store(&details{user: "alice", session: session.NewID("alice"), resumed: true, headers: "User-Agent=x"})
	state := []byte("state")
	f.Add(c.record(&state))
	f.Add(append(c.record(nil), recordCarried, 1, 9, recordClaim, 1, 1, recordBegan, 4, 7, 0, 0, 0, 0xf0, 2, 1, 2))
	f.Add(appendRecord(nil, recordUser, "bob"))
	f.Add([]byte{recordSession, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := new(Client)
		rest, err := got.parse(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("got %v, want %v", err, ErrRecord)
			}
			return
		}
		got.Identity() // of any bytes
		again := new(Client)
		written := got.record(rest.state)
		if _, err := again.parse(written); err != nil {
			t.Fatalf("%x was written of %x: %v", written, b, err)
		}
		if second := again.record(rest.state); string(second) != string(written) {
			t.Fatalf("got %x, want %x", second, written)
		}
	})
}
