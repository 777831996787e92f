package loadtest

import (
	"unsafe"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// connState is where a connection stands.
type connState uint8

const (
	stateFree       connState = iota // nobody's record
	stateConnecting                  // SYN is under way
	stateHead                        // the request was sent, the answer is not complete
	stateRefused                     // the answer was another than 101; its body is not complete
	stateOpen
	stateClosing // a close frame was sent; the server's, or its end, is to come
)

type connBits uint8

const (
	bitFull   connBits = 1 << iota // the socket takes no more; what is left waits in generator.unsent
	bitBehind                      // a message is due that cannot be sent yet
	bitPieces                      // the message that arrives has had its tag looked at, or is collected
	bitOurEnd                      // we have closed first
)

// conn is one connection: everything that an idle one costs, but its entries in the tables of the loop.
type conn struct {
	sock   reactor.Socket
	user   *user // nil with a crowd
	key    reactor.Key
	reader ws.Reader
	began  int64  // when the connect began; once open, when the first message is due
	id     uint32 // the client's number, from 0 in all processes
	sent   uint32 // messages
	got    uint32 // replies; of a broadcast, the number of the next message
	state  connState
	bits   connBits
}

// maxConnSize is the budget for a conn.
const maxConnSize = 136

var _ [maxConnSize - unsafe.Sizeof(conn{})]byte

// pageLen is the number of records that are allocated together: a table that is copied as it grows would need twice
// the memory while it does.
const pageLen = 256

// table finds a connection by its index on the loop.
type table struct{ pages []*[pageLen]conn }

// slot is the record of an index, in use or not.
func (t *table) slot(i uint32) *conn {
	for int(i/pageLen) >= len(t.pages) {
		t.pages = append(t.pages, new([pageLen]conn))
	}
	return &t.pages[i/pageLen][i%pageLen]
}

// get is the connection that k names, or nil if it is gone.
func (t *table) get(k reactor.Key) *conn {
	if int(k.Index/pageLen) >= len(t.pages) {
		return nil
	}
	c := &t.pages[k.Index/pageLen][k.Index%pageLen]
	if c.state == stateFree || c.key != k {
		return nil
	}
	return c
}

// each calls f with every connection. f may close it.
func (t *table) each(f func(c *conn)) {
	for _, p := range t.pages {
		for i := range p {
			if p[i].state != stateFree {
				f(&p[i])
			}
		}
	}
}
