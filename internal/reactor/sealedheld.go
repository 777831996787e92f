package reactor

import (
	"crypto/tls"
	"unsafe"
)

// arriving is what a sealed socket has read.
type arriving struct {
	part  []byte               // the beginning of a record
	plain []byte               // was opened, and is not taken yet
	end   error                // nothing more can be read
	about *tls.ConnectionState // what the handshake has agreed on, until somebody takes it
}

// leaving is what a sealed socket has written.
type leaving struct {
	rest   *[]byte // was sealed, and the socket has not taken it yet; nil: nothing
	sizes  sizes
	owes   bool // a KeyUpdate has to come before more data
	shut   bool // the last alert is in rest or sent
	finish bool // shut down the sending side when rest is sent
}

// maxLeavingSize is the memory budget of a leaving: each connection that is not silent has one.
const maxLeavingSize = 80

var _ [maxLeavingSize - unsafe.Sizeof(leaving{})]byte

// nothing reports whether nothing of l is needed if the peer has acknowledged all.
func (l *leaving) nothing() bool { return l.rest == nil && !l.owes && !l.shut && !l.finish }

// arriving returns t.arrives, which it makes if there is none. Call arrived when something of it may be gone.
func (t *sealed) arriving() *arriving {
	if t.arrives == nil {
		t.arrives = new(arriving)
	}
	return t.arrives
}

// arrived drops t.arrives if there is nothing in it.
func (t *sealed) arrived() {
	if a := t.arrives; a != nil && len(a.part)+len(a.plain) == 0 && a.end == nil && a.about == nil {
		t.arrives = nil
	}
}

func (t *sealed) part() []byte {
	if t.arrives == nil {
		return nil
	}
	return t.arrives.part
}

func (t *sealed) plain() []byte {
	if t.arrives == nil {
		return nil
	}
	return t.arrives.plain
}

func (t *sealed) end() error {
	if t.arrives == nil {
		return nil
	}
	return t.arrives.end
}

func (t *sealed) about() *tls.ConnectionState {
	if t.arrives == nil {
		return nil
	}
	return t.arrives.about
}

func (t *sealed) setPlain(b []byte) {
	if len(b) > 0 {
		t.arriving().plain = b
	} else if t.arrives != nil {
		t.arrives.plain = nil
		t.arrived()
	}
}

func (t *sealed) setEnd(err error) { t.arriving().end = err }

// The functions below require that t.mu is held.

// leaving returns t.leaves, which it makes if there is none.
func (t *sealed) leaving() *leaving {
	if t.leaves == nil {
		t.leaves = new(leaving)
	}
	return t.leaves
}

func (t *sealed) rest() []byte {
	if t.leaves == nil || t.leaves.rest == nil {
		return nil
	}
	return *t.leaves.rest
}
