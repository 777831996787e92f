package engine

import (
	"slices"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	// sharedFrom is the length from which a published frame is referenced instead of copied. Below it, a copy into a
	// buffer that leaves in one write is cheaper than a write with many parts.
	sharedFrom = 1 << 10
	// maxChunk is the size at which a new buffer for small frames begins.
	maxChunk = 64 << 10
	// maxParts is the maximum number of chunks in one write.
	maxParts = 64
)

// chunkKind is the kind of content of a chunk, which decides what may be done with it.
type chunkKind uint8

const (
	chunkFrames chunkKind = iota // whole frames of this connection; more may be appended
	chunkShared                  // one frame, which other connections may hold too: read only
	chunkPinned                  // bytes that must leave: an HTTP response, or the rest of a frame that has begun
	chunkLinked                  // like chunkShared, but useless to the peer if a compressed frame before it is dropped
)

type chunk struct {
	buf  []byte
	kind chunkKind
	pub  *publication // the publication whose frame buf is, unless it has begun to leave; may be nil
}

// outbox is the output queue of a connection, oldest first. It exists only while output waits.
type outbox struct {
	chunks []chunk
	off    int    // bytes of the first chunk that have left
	size   int    // bytes that wait
	spare  []byte // a buffer that outlives the content, for the first chunk of frames
	lent   bool   // spare is in use
	linked bool   // compressed frames in chunks of chunkFrames may refer to frames before them
}

// addWhole appends a frame, which the outbox owns, as a chunk of its own.
func (o *outbox) addWhole(frame []byte) {
	o.chunks = append(o.chunks, chunk{buf: frame, kind: o.kind(frame)})
	o.size += len(frame)
}

// kind returns the kind of the chunk for a frame of chunkFrames that gets its own chunk.
func (o *outbox) kind(frame []byte) chunkKind {
	if o.linked && compressed(frame) {
		return chunkLinked
	}
	return chunkShared
}

// addPublished appends the frame of a publication.
func (o *outbox) addPublished(p *publication) {
	p.hold()
	o.chunks = append(o.chunks, chunk{buf: p.frame, kind: chunkShared, pub: p})
	o.size += len(p.frame)
}

// addPinned appends bytes that must leave in any case. The outbox owns them.
func (o *outbox) addPinned(b []byte) {
	o.chunks = append(o.chunks, chunk{buf: b, kind: chunkPinned})
	o.size += len(b)
}

// addUrgent inserts a whole frame before those that have not begun to leave.
func (o *outbox) addUrgent(frame []byte) {
	o.split()
	at := slices.IndexFunc(o.chunks, func(ch chunk) bool { return ch.kind != chunkPinned })
	if at < 0 {
		at = len(o.chunks)
	}
	o.chunks = slices.Insert(o.chunks, at, chunk{buf: frame, kind: chunkPinned})
	o.size += len(frame)
}

// addFrame appends a frame made of op and payload. With apart, the frame gets its own chunk, so that it can be dropped.
func (o *outbox) addFrame(op ws.Opcode, payload []byte, apart bool) {
	t := o.tail(len(payload), apart)
	before := len(t.buf)
	t.buf = ws.AppendFrame(t.buf, op, payload)
	o.size += len(t.buf) - before
	o.keep(t)
}

// addBytes appends a copy of whole frames.
func (o *outbox) addBytes(frames []byte, apart bool) {
	t := o.tail(len(frames), apart)
	t.buf = append(t.buf, frames...)
	o.size += len(frames)
	o.keep(t)
}

// tail returns the chunk to append n bytes to. It is valid until the next append.
func (o *outbox) tail(n int, apart bool) *chunk {
	if last := len(o.chunks) - 1; last >= 0 && !apart {
		if t := &o.chunks[last]; t.kind == chunkFrames && len(t.buf)+n <= maxChunk {
			return t
		}
	}
	var buf []byte
	if !o.lent && !apart {
		o.lent = true
		buf = o.spare[:0]
	}
	kind := chunkFrames
	if apart {
		kind = chunkShared
	}
	o.chunks = append(o.chunks, chunk{buf: buf, kind: kind})
	return &o.chunks[len(o.chunks)-1]
}

// writeTo writes at most maxParts chunks, followed by tail, which the outbox does not own. full reports whether the
// socket took less than it was offered.
func (o *outbox) writeTo(s reactor.Socket, tail ...[]byte) (n int, full bool, err error) {
	if len(o.chunks) == 1 && len(tail) == 0 {
		b := o.chunks[0].buf[o.off:]
		n, err = s.Write(b)
		full = n < len(b)
	} else {
		var parts [maxParts + 2][]byte
		list, offered := o.parts(parts[:0]), 0
		list = append(list, tail...)
		for _, p := range list {
			offered += len(p)
		}
		n, err = s.Writev(list)
		full = n < offered
	}
	o.advance(min(n, o.size))
	return n, full, err
}

// writeUpTo is writeTo for at most limit bytes, without a tail.
func (o *outbox) writeUpTo(s reactor.Socket, limit int) (n int, full bool, err error) {
	var parts [maxParts][]byte
	list, offered := o.parts(parts[:0]), 0
	for i, p := range list {
		if rest := limit - offered; len(p) >= rest {
			list[i], list, offered = p[:rest], list[:i+1], limit
			break
		}
		offered += len(p)
	}
	n, err = s.Writev(list)
	o.advance(n)
	return n, n < offered, err
}

func (o *outbox) parts(list [][]byte) [][]byte {
	for i, ch := range o.chunks[:min(len(o.chunks), maxParts)] {
		if i == 0 {
			ch.buf = ch.buf[o.off:]
		}
		list = append(list, ch.buf)
	}
	return list
}

// advance removes the first n bytes.
func (o *outbox) advance(n int) {
	o.size -= n
	o.off += n
	done := 0
	for done < len(o.chunks) && o.off >= len(o.chunks[done].buf) {
		o.off -= len(o.chunks[done].buf)
		o.chunks[done].pub.let()
		done++
	}
	o.chunks = slices.Delete(o.chunks, 0, done)
	if o.off > 0 {
		o.chunks[0].pub.let()
		o.chunks[0].pub = nil
	}
}

// split gives each waiting frame its own chunk and pins the rest of the frame that has begun to leave, so that whole
// frames can be dropped. It finds the borders in the frame headers.
func (o *outbox) split() {
	if len(o.chunks) == 0 {
		return
	}
	list := make([]chunk, 0, len(o.chunks)+8)
	for i, ch := range o.chunks {
		begun := 0
		if i == 0 {
			begun = o.off
		}
		if ch.kind == chunkPinned || (ch.kind != chunkFrames && begun == 0) {
			list = append(list, chunk{buf: ch.buf[begun:], kind: ch.kind, pub: ch.pub})
			continue
		}
		for at := 0; at < len(ch.buf); {
			end := at + frameLen(ch.buf[at:])
			switch {
			case end <= begun:
			case at < begun:
				list = append(list, chunk{buf: ch.buf[begun:end:end], kind: chunkPinned})
			default:
				frame := ch.buf[at:end:end]
				list = append(list, chunk{buf: frame, kind: o.kind(frame)})
			}
			at = end
		}
	}
	o.chunks, o.off = list, 0
}

// dropOldest drops whole data frames, oldest first, until need bytes are freed or no droppable frame is left. After a
// compressed one, it also drops those that may refer to it. split must have been called when the socket became full.
func (o *outbox) dropOldest(need int) (frames int) {
	kept, missing := o.chunks[:0], false
	for _, ch := range o.chunks {
		wanted := need > 0 || missing && ch.kind == chunkLinked
		if wanted && ch.kind != chunkPinned && !isControl(ch.buf) {
			missing = missing || compressed(ch.buf)
			need -= len(ch.buf)
			ch.pub.let()
			o.size -= len(ch.buf)
			frames++
			continue
		}
		kept = append(kept, ch)
	}
	clear(o.chunks[len(kept):])
	o.chunks = kept
	return frames
}

// release empties o for the pool.
func (o *outbox) release() {
	for _, ch := range o.chunks {
		ch.pub.let()
	}
	clear(o.chunks)
	if cap(o.chunks) > maxParts {
		o.chunks = nil
	}
	*o = outbox{chunks: o.chunks[:0], spare: o.spare}
}

// keep saves the buffer of a chunk for reuse after release, if it is of a useful size. Those of single frames are not
// saved: they can be in the queue while spare is not in use.
func (o *outbox) keep(ch *chunk) {
	if ch.kind == chunkFrames && cap(ch.buf) > cap(o.spare) && cap(ch.buf) <= 2*maxChunk {
		o.spare = ch.buf[:0]
	}
}

// frameLen returns the length of the frame at the start of b, which must be complete and one of ours.
func frameLen(b []byte) int {
	h, n, err := ws.ParseHeader(b)
	if err != nil || n == 0 {
		return len(b)
	}
	return n + int(h.Length)
}

// isControl reports whether the frame at the start of b is a control frame.
func isControl(b []byte) bool { return ws.Opcode(b[0] & 0x0f).IsControl() }
