package loadtest

import (
	"unsafe"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// connState is the state of a connection.
type connState uint8

const (
	stateFree       connState = iota // the record is not in use
	stateConnecting                  // the TCP connection is being established
	stateHead                        // the request was sent, the response is incomplete
	stateRefused                     // the response has a status other than 101, its body is incomplete
	stateOpen
	stateClosing // a close frame was sent; the server has not closed yet
)

type connBits uint8

const (
	bitFull     connBits = 1 << iota // the socket takes no more bytes; the rest waits in generator.unsent
	bitBehind                        // a message is due that cannot be sent yet
	bitSqueezed                      // messages may be compressed
	bitPartial                       // the start of the current message was handled, or is being collected
)

// conn is one connection. It is all that an idle connection costs, apart from its entries in the tables of the loop.
type conn struct {
	sock   reactor.Socket
	user   *user // nil without a plan
	key    reactor.Key
	reader ws.Reader
	began  int64  // when the connect began; of an open connection, when its first message is due
	id     uint32 // the client number, from 0, over all processes
	sent   uint32 // messages sent
	got    uint32 // replies received; with ModeBroadcast, the number of the next message
	state  connState
	bits   connBits
}

// maxConnSize is the budget for a conn in bytes.
const maxConnSize = 136

var _ [maxConnSize - unsafe.Sizeof(conn{})]byte

// pageLen is the number of records that are allocated together. Pages are never moved: a slice that grows by copying
// would need twice the memory while it does.
const pageLen = 256

// table finds a connection by its index on the loop.
type table struct{ pages []*[pageLen]conn }

// slot returns the record at index i, whether or not it is in use.
func (t *table) slot(i uint32) *conn {
	for int(i/pageLen) >= len(t.pages) {
		t.pages = append(t.pages, new([pageLen]conn))
	}
	return &t.pages[i/pageLen][i%pageLen]
}

// get returns the connection with key k, or nil if it no longer exists.
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

// each calls f for every connection. f may close it.
func (t *table) each(f func(c *conn)) {
	for _, p := range t.pages {
		for i := range p {
			if p[i].state != stateFree {
				f(&p[i])
			}
		}
	}
}
