package ws

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"
)

// Defaults of ReaderConfig.
const (
	DefaultMaxMessage   = 1 << 20
	DefaultMaxFragments = 1024
)

// ReaderConfig sets the rules that a Reader enforces. Many Readers can share one; it must not change while they use it.
// The zero value is a server with the default limits.
type ReaderConfig struct {
	// Role is the side that reads.
	Role Role
	// MaxMessage is the maximum length of a message in bytes, over all its fragments. 0 means DefaultMaxMessage; a
	// negative value means no limit. The length that a header declares counts: of a frame that exceeds the limit, no
	// payload is read. The error has CloseMessageTooBig. A compressed message may be longer by a sixteenth and
	// 64 bytes: incompressible data is longer when it is compressed.
	MaxMessage int64
	// MaxFragments is the maximum number of frames in a message. 0 means DefaultMaxFragments; a negative value allows
	// no message at all. It stops endless messages of empty frames. The error has ClosePolicyViolation.
	MaxFragments int
	// Compression is set if permessage-deflate was negotiated. RSV1 may then be set on the first frame of a message;
	// the payload of such a message is not checked for valid UTF-8. RFC 7692 §6.
	Compression bool
}

// Kind is the kind of an Event.
type Kind uint8

// The kinds of events.
const (
	// KindNeedMore means that Next has consumed all input and no event is complete.
	KindNeedMore Kind = iota
	// KindData is a piece of a text or binary message.
	KindData
	// KindPing must be answered with a pong that has the same payload. RFC 6455 §5.5.2.
	KindPing
	// KindPong needs no answer.
	KindPong
	// KindClose is the last frame of the peer. RFC 6455 §5.5.1.
	KindClose
)

// Event is what a Reader found in its input.
type Event struct {
	Kind       Kind
	Opcode     Opcode // OpText or OpBinary, in every piece of a message
	First      bool   // first piece of a message
	Last       bool   // last piece of a message
	Compressed bool   // payload is compressed
	Code       CloseCode
	Data       []byte // unmasked payload, or the reason of a close; valid until the next call
}

// Reader parses the frames of one connection. The zero Reader expects the start of the first frame.
//
// After an error and after a close frame, it discards all input, because nothing may follow: RFC 6455 §1.4 and §7.1.7.
type Reader struct {
	left      uint64 // payload bytes of the data frame that are still missing
	total     uint64 // payload bytes that the headers of the message have declared so far
	control   *partialControl
	key       uint32 // masking key, rotated to the next payload byte
	fragments uint32
	text      textState
	opcode    Opcode // of the message
	flags     readerFlags
	headLen   uint8
	head      [MaxHeader]byte // the first headLen bytes of an incomplete header
}

type readerFlags uint8

const (
	flagMessage    readerFlags = 1 << iota // a message has begun and is incomplete
	flagFrame                              // a data frame has begun and is incomplete
	flagFin                                // that frame is the last one of its message
	flagBegun                              // an event of the message was returned
	flagCompressed                         // the message is compressed
	flagDone                               // discard all input
)

// partialControl is a control frame whose payload is incomplete.
type partialControl struct {
	header Header
	n      int
	buf    [maxControl]byte
}

// maxReaderSize is the memory budget of a Reader: every connection has one.
const maxReaderSize = 64

var _ [maxReaderSize - unsafe.Sizeof(Reader{})]byte

// Left returns the number of payload bytes that are missing of the data frame that has begun; 0 between frames.
func (r *Reader) Left() uint64 { return r.left }

// Next parses bytes from the peer. It returns the next event and the rest of the input. It unmasks in place and thus
// changes the input. KindNeedMore means that it has consumed all input. An error is a *ProtocolError. Next allocates
// only if a control frame arrives in pieces.
func (r *Reader) Next(in []byte, cfg *ReaderConfig) (ev Event, rest []byte, err error) {
	if r.flags == 0 && r.headLen == 0 && r.control == nil && len(in) > 1 && in[1]&0x7f < 126 {
		if n := r.whole(in, cfg); n > 0 {
			op := Opcode(in[0] & 0xf)
			data := in[n-int(in[1]&0x7f) : n : n]
			return Event{Kind: KindData, Opcode: op, Data: data, First: true, Last: true}, in[n:], nil
		}
	}
	if r.flags&flagDone != 0 {
		return Event{}, nil, nil
	}
	ev, rest, fault := r.next(in, cfg)
	if fault != nil {
		r.flags = flagDone
		return Event{}, nil, fault
	}
	return ev, rest, nil
}

// whole unmasks and validates the frame at the start of in if that is a complete message of less than 126 bytes, and
// returns its length. Otherwise it returns 0 and leaves in unchanged, and next does the work. This path takes at most a
// third of the time (BenchmarkReader).
func (r *Reader) whole(in []byte, cfg *ReaderConfig) int {
	size, key, head := int(in[1]&0x7f), uint32(0), 2
	if in[0] != 0x80|byte(OpText) && in[0] != 0x80|byte(OpBinary) ||
		cfg.MaxMessage > 0 && int64(size) > cfg.MaxMessage || cfg.MaxFragments < 0 {
		return 0
	}
	if cfg.Role == Server {
		head = 6
	}
	n := head + size
	if len(in) < n || in[1]>>7 != byte(1-cfg.Role) {
		return 0
	}
	data := in[head:n]
	if cfg.Role == Server {
		key = binary.LittleEndian.Uint32(in[2:])
		Mask(data, key, 0)
	}
	if in[0]&0xf == byte(OpText) && skipASCII(data, 0) < size {
		var text textState
		if text.write(data) < size || !text.complete() {
			Mask(data, key, 0) // undo
			return 0
		}
	}
	return n
}

func (r *Reader) next(in []byte, cfg *ReaderConfig) (ev Event, rest []byte, fault *ProtocolError) {
	if r.flags&flagFrame == 0 && r.control == nil {
		h, n, err := r.header(in)
		if err != nil {
			return ev, nil, err.(*ProtocolError)
		}
		if n == 0 {
			return ev, nil, nil
		}
		in = in[n:]
		if fault := check(h, cfg); fault != nil {
			return ev, nil, fault
		}
		if h.Opcode.IsControl() {
			return r.beginControl(h, in)
		}
		if fault := r.beginFrame(h, cfg); fault != nil {
			return ev, nil, fault
		}
	}
	if r.control != nil {
		return r.continueControl(in)
	}
	return r.payload(in, cfg)
}

// header parses a frame header from the bytes kept so far and from in, and returns how many bytes of in end it. n == 0
// means that it kept all of them and needs more.
func (r *Reader) header(in []byte) (h Header, n int, err error) {
	if r.headLen == 0 {
		if h, n, err = ParseHeader(in); n > 0 || err != nil {
			return h, n, err
		}
		r.headLen = uint8(copy(r.head[:], in))
		return h, 0, nil
	}
	kept := int(r.headLen)
	have := kept + copy(r.head[kept:], in)
	h, n, err = ParseHeader(r.head[:have])
	switch {
	case err != nil:
		return h, 0, err
	case n == 0:
		r.headLen = uint8(have)
		return h, 0, nil
	default:
		r.headLen = 0
		return h, n - kept, nil
	}
}

// check validates the fields of a header that need no context.
func check(h Header, cfg *ReaderConfig) *ProtocolError {
	switch {
	case h.RSV != 0 && (h.RSV != 4 || !cfg.Compression || h.Opcode.IsControl()): // RFC 6455 §5.2, RFC 7692 §6
		return errReservedBits
	case !h.Opcode.known():
		return errReservedOpcode
	case !h.Masked && cfg.Role == Server:
		return errNotMasked
	case h.Masked && cfg.Role == Client:
		return errMasked
	case !h.Opcode.IsControl():
		return nil
	case !h.Fin:
		return errControlParts
	case h.Length > maxControl:
		return errControlLength
	default:
		return nil
	}
}

// beginFrame begins a data frame and, unless the frame continues a message, a message.
func (r *Reader) beginFrame(h Header, cfg *ReaderConfig) *ProtocolError {
	if h.Opcode == OpContinuation {
		switch {
		case r.flags&flagMessage == 0:
			return errNoStart
		case h.RSV != 0: // RFC 7692 §6.1: only the first frame has RSV1
			return errReservedBits
		}
	} else {
		if r.flags&flagMessage != 0 {
			return errNotFinished
		}
		r.opcode, r.total, r.fragments, r.text = h.Opcode, 0, 0, textState{}
		r.flags = flagMessage
		if h.RSV != 0 {
			r.flags |= flagCompressed
		}
	}
	limit, fragments := uint64(cfg.MaxMessage), cfg.MaxFragments // a negative limit is more than a header can declare
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	if fragments == 0 {
		fragments = DefaultMaxFragments
	}
	if r.flags&flagCompressed != 0 {
		limit += min(limit>>4+64, math.MaxUint64-limit)
	}
	if h.Length > limit-min(r.total, limit) {
		return errTooBig
	}
	if int64(r.fragments) >= int64(fragments) {
		return errFragments
	}
	r.total += h.Length
	r.fragments++
	r.left, r.key = h.Length, h.Key
	r.flags |= flagFrame
	if h.Fin {
		r.flags |= flagFin
	}
	return nil
}

// payload consumes the payload bytes of the data frame that in holds.
func (r *Reader) payload(in []byte, cfg *ReaderConfig) (ev Event, rest []byte, fault *ProtocolError) {
	n := int(min(uint64(len(in)), r.left))
	if n == 0 && r.left > 0 {
		return ev, nil, nil
	}
	data := in[:n:n]
	if cfg.Role == Server {
		Mask(data, r.key, 0)
		r.key = bits.RotateLeft32(r.key, -8*(n&3))
	}
	r.left -= uint64(n)
	last := r.left == 0 && r.flags&flagFin != 0
	if r.opcode == OpText && r.flags&flagCompressed == 0 {
		if r.text.write(data) < n || (last && !r.text.complete()) {
			return ev, nil, errText
		}
	}
	ev = Event{
		Kind: KindData, Opcode: r.opcode, Data: data, Last: last,
		First: r.flags&flagBegun == 0, Compressed: r.flags&flagCompressed != 0,
	}
	r.flags |= flagBegun
	if r.left == 0 {
		r.flags &^= flagFrame
	}
	if last {
		r.flags = 0
	}
	return ev, in[n:], nil
}

// beginControl parses the payload of a control frame, in place if all of it has arrived.
func (r *Reader) beginControl(h Header, in []byte) (ev Event, rest []byte, fault *ProtocolError) {
	if uint64(len(in)) < h.Length {
		r.control = &partialControl{header: h}
		return r.continueControl(in)
	}
	n := int(h.Length)
	ev, fault = r.finishControl(h, in[:n:n])
	return ev, in[n:], fault
}

func (r *Reader) continueControl(in []byte) (ev Event, rest []byte, fault *ProtocolError) {
	c := r.control
	n := copy(c.buf[c.n:c.header.Length], in)
	c.n += n
	if c.n < int(c.header.Length) {
		return ev, nil, nil
	}
	r.control = nil
	ev, fault = r.finishControl(c.header, c.buf[:c.n])
	return ev, in[n:], fault
}

func (r *Reader) finishControl(h Header, data []byte) (Event, *ProtocolError) {
	if h.Masked {
		Mask(data, h.Key, 0)
	}
	switch h.Opcode {
	case OpPing:
		return Event{Kind: KindPing, Data: data}, nil
	case OpPong:
		return Event{Kind: KindPong, Data: data}, nil
	}
	code, reason, fault := parseClose(data)
	if fault != nil {
		return Event{}, fault
	}
	r.flags = flagDone
	return Event{Kind: KindClose, Code: code, Data: reason}, nil
}
