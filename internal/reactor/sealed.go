package reactor

import (
	"errors"
	"io"
	"slices"
	"sync"
	"unsafe"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

const (
	// sealedRead is how much a sealed socket reads at once.
	sealedRead = 64 << 10
	// sealedWrite is how many bytes are sealed before they are written: one record. What the socket does not take of it
	// waits.
	sealedWrite = 16 << 10
	// sealedBuffer has room for that and for two KeyUpdates.
	sealedBuffer = tlsrecord.MaxRecord + 128
)

// sealed is the TLS of a descriptor whose handshake is over: the loop reads and writes records. RFC 8446 §5. An idle
// connection keeps it, so what is not always needed is behind a pointer.
type sealed struct {
	loop *Loop
	key  Key

	// Reading, on the loop only.
	in      tlsrecord.Reader
	arrives *arriving

	mu     sync.Mutex // guards the rest
	out    tlsrecord.Writer
	leaves *leaving
	off    *sealedConn // not nil while other goroutines read and write it instead of the loop
	fd     int32       // -1 then
	wrote  bool        // since the last look of warmth
	listed bool        // in the list of warmth
	read   bool        // since the last look of warmth; on the loop only
}

// maxSealedSize is the memory budget of a sealed: each connection with TLS has one.
const maxSealedSize = 240

var _ [maxSealedSize - unsafe.Sizeof(sealed{})]byte

// take copies what was opened before into p.
func (t *sealed) take(p []byte) (n int) {
	if len(t.plain()) == 0 {
		return 0
	}
	n = copy(p, t.plain())
	t.hold(t.part(), t.plain()[n:])
	return n
}

// readTo implements Socket.Read. On the loop.
func (t *sealed) readTo(p []byte) (n int, err error) {
	if n = t.take(p); len(t.plain()) > 0 {
		return n, nil
	}
	more := false
	if t.end() == nil && n < len(p) {
		n, more = t.receive(p, n)
	}
	switch {
	case more && n < len(p), n > 0 && t.end() != nil:
		t.loop.Again(t.key, Readable)
	}
	switch {
	case n > 0 || len(p) == 0:
		return n, nil
	case t.end() != nil:
		return 0, t.end()
	default:
		return 0, ErrAgain
	}
}

// receive reads records once, and opens what is whole into p from n. It returns the new n, and reports whether there
// may be more: whoever sends a byte in each record has to wait for its next turn.
func (t *sealed) receive(p []byte, n int) (now int, more bool) {
	buf := t.loop.sealedBuffer()
	had := copy(buf, t.part())
	asked := min(sealedRead, len(p)-n) // so that what is opened fits, except for the end of a record
	got, err := fdRead(int(t.fd), buf[had:had+asked])
	if err != nil && !errors.Is(err, ErrAgain) && !errors.Is(err, io.EOF) {
		t.setEnd(err)
		return n, false
	}
	n, rest := t.open(p, n, buf[:had+got])
	t.keep(rest)
	if errors.Is(err, io.EOF) {
		t.cut()
	}
	return n, got == asked && t.end() == nil
}

// cut records the end of the stream. Many clients send no close_notify: it counts as one between two records.
func (t *sealed) cut() {
	switch {
	case t.end() != nil:
	case len(t.part()) > 0:
		t.setEnd(io.ErrUnexpectedEOF)
	default:
		t.setEnd(io.EOF)
	}
}

// open opens the whole records of b, into p from n. It returns the new n, and what is left of b.
func (t *sealed) open(p []byte, n int, b []byte) (int, []byte) {
	for t.end() == nil {
		size, err := tlsrecord.Length(b)
		if err != nil {
			t.fail(err)
			return n, nil
		}
		if size == 0 || len(b) < size {
			return n, b
		}
		if !t.read {
			t.opens()
		}
		var kind tlsrecord.Kind
		var opened []byte
		if len(t.plain()) == 0 && len(p)-n >= size {
			opened, kind, err = t.in.Open(p[n:n:len(p)], b[:size])
			n += len(opened)
		} else {
			opened, kind, err = t.in.Open(b[tlsrecord.HeaderSize:tlsrecord.HeaderSize], b[:size])
			taken := 0
			if len(t.plain()) == 0 {
				taken = copy(p[n:], opened)
			}
			t.loop.count.parts.Add(int64(len(opened) - taken))
			t.setPlain(append(t.plain(), opened[taken:]...))
			n += taken
		}
		if err != nil {
			t.fail(err)
			return n, nil
		}
		switch kind {
		case tlsrecord.Closed:
			t.setEnd(io.EOF)
			if t.off == nil {
				t.loop.Again(t.key, Readable|Hangup) // the poller knows nothing of it
			}
		case tlsrecord.Requested:
			t.answer()
		}
		b = b[size:]
	}
	return n, nil // RFC 8446 §6.1: what follows the end is ignored
}

// keep keeps the beginning of a record.
func (t *sealed) keep(b []byte) { t.hold(b, t.plain()) }

// hold changes what t has read and holds.
func (t *sealed) hold(part, plain []byte) {
	hadPart, hadPlain := t.part(), t.plain()
	t.loop.count.parts.Add(int64(len(part) + len(plain) - len(hadPart) - len(hadPlain)))
	if t.arrives == nil && len(part)+len(plain) == 0 {
		return
	}
	a := t.arriving()
	a.part, a.plain = fit(hadPart, part), fit(hadPlain, plain)
	t.arrived()
}

// fail ends the connection, and tells the peer why, unless that has ended it: nothing is sent then. RFC 8446 §6.2.
func (t *sealed) fail(err error) {
	t.setEnd(err)
	bad, ok := errors.AsType[tlsrecord.Error](err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.loop.count.violations.Add(1)
		t.alert(bad.Alert)
	}
	t.leaving().shut = true
}

// Violates reports whether err, of Socket.Read, means that the peer has broken TLS.
func Violates(err error) bool {
	_, bad := errors.AsType[tlsrecord.Error](err)
	return bad
}

// answer answers a KeyUpdate, at once or before the next data. One answer is enough for several. RFC 8446 §4.6.3.
func (t *sealed) answer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.leaving()
	to.owes = !to.shut
	if to.owes && t.push() == nil {
		if err := t.update(); err != nil {
			t.setEnd(err)
			return
		}
		_ = t.push() // the next read or write finds the error, too
	}
}

// The functions below require that t.mu is held.

// update seals the KeyUpdate that is owed.
func (t *sealed) update() error {
	t.leaving().owes = false
	rest, err := t.out.AppendKeyUpdate(t.rest(), false)
	t.grow(rest)
	t.leaving().sizes.add(tlsrecord.KeyUpdateSize | notData)
	return err
}

// alert seals an alert, after which nothing follows, and writes what the socket takes.
func (t *sealed) alert(a tlsrecord.Alert) {
	to := t.leaving()
	if to.shut {
		return
	}
	to.shut = true
	if rest, err := t.out.AppendAlert(t.rest(), a); err == nil {
		t.grow(rest)
		to.sizes.add(2 | notData)
		_ = t.push() // the connection ends in any case
	}
}

// push writes what was sealed before. It returns ErrAgain if the socket does not take all of it.
func (t *sealed) push() error {
	to := t.leaving()
	if rest := t.rest(); len(rest) > 0 {
		n, err := t.send(rest)
		t.wait(rest[n:])
		if err != nil {
			return err
		}
		if n < len(rest) {
			return ErrAgain
		}
	}
	if to.finish {
		to.finish = false
		if t.off != nil {
			return endWrite(t.off.raw)
		}
		return fdCloseWrite(int(t.fd))
	}
	return nil
}

// wait keeps what the socket has not taken.
func (t *sealed) wait(b []byte) { t.grow(fit(t.rest(), b)) }

// grow replaces what waits, for instance by what has more at its end.
func (t *sealed) grow(b []byte) {
	t.loop.count.rests.Add(int64(len(b) - len(t.rest())))
	switch {
	case len(b) > 0:
		rest := b // its address is taken, which makes it one on the heap
		t.leaving().rest = &rest
	case t.leaves != nil:
		t.leaves.rest = nil
	}
}

// spare is how many bytes more than it needs, and as many again, the memory of a part of a record may have.
const spare = 512

// fit copies b, which may be a part of old, into memory that is not much larger: into that of old, if it fits. Limits
// count the length, and a client must not hold a whole record by one byte of the next.
func fit(old, b []byte) []byte {
	switch {
	case len(b) == 0:
		return nil
	case cap(old) > 2*len(b)+spare:
		return slices.Clone(b)
	default:
		return append(old[:0], b...)
	}
}

// send writes records. It blocks only if t is not on a loop.
func (t *sealed) send(b []byte) (int, error) {
	if t.off != nil {
		return t.off.raw.Write(b)
	}
	return fdWrite(int(t.fd), b)
}

// write implements Socket.Write and Writev: it takes bytes as long as the socket takes what is sealed.
func (t *sealed) write(parts ...[]byte) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.leaving()
	if to.shut {
		return 0, ErrClosed
	}
	if err := t.push(); err != nil {
		return 0, err
	}
	if to.owes { // not before: while the socket is full, rest must not grow with each request
		if err := t.update(); err != nil {
			return 0, err
		}
		if err := t.push(); err != nil {
			return 0, err
		}
	}
	t.warm(&t.wrote)
	buf := t.loop.takeSealed()
	defer t.loop.giveSealed(buf)
	for {
		b, taken, err := t.out.Append((*buf)[:0], parts, sealedWrite)
		if err != nil {
			return n, err
		}
		if taken == 0 {
			return n, nil
		}
		n += taken
		to.sizes.add(uint16(taken))
		wrote, err := t.send(b)
		if wrote < len(b) {
			t.wait(b[wrote:])
		}
		switch {
		case err != nil && !errors.Is(err, ErrAgain):
			return n, err
		case wrote < len(b):
			return n, nil
		}
		parts = skip(parts, taken)
	}
}

// closeWrite implements Socket.CloseWrite.
func (t *sealed) closeWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to := t.leaving(); !to.shut {
		to.finish = true
	}
	t.alert(tlsrecord.CloseNotify)
	return nil
}

// close implements Socket.Close.
func (t *sealed) close() error {
	err := t.leave()
	t.forget()
	return err
}

// leave closes the connection. The peer learns of the end with close_notify, if the socket takes it.
func (t *sealed) leave() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alert(tlsrecord.CloseNotify)
	if t.off != nil {
		return t.off.raw.Close()
	}
	return fdClose(int(t.fd))
}

// forget erases the secrets and drops what t holds. Nobody may read meanwhile.
func (t *sealed) forget() {
	t.hold(nil, nil)
	t.arrives = nil
	t.in.Erase()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait(nil)
	t.out.Erase()
}

func (t *sealed) pushed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leaves == nil || t.push() == nil
}

func (t *sealed) unsent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.rest())
}

func (t *sealed) waits() bool { return t.unsent() > 0 }

func (t *sealed) unacknowledged() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaves == nil {
		return 0
	}
	return t.leaves.sizes.data(fdUnacknowledged(int(t.fd)) + len(t.rest()))
}

// skip returns parts without their first n bytes.
func skip(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n == 0 {
		return parts
	}
	return append([][]byte{parts[0][n:]}, parts[1:]...)
}
