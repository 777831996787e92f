package conformance

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// The opcodes. RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// The first byte of a frame, besides the opcode.
const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// frame returns a masked frame. first is its first byte.
func frame(first byte, payload string) []byte {
	return maskedWith([4]byte{0x37, 0xfa, 0x21, 0x3d}, first, payload)
}

func maskedWith(key [4]byte, first byte, payload string) []byte {
	b := append(lengthOf(first, 0x80, uint64(len(payload))), key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// lengthOf returns the first bytes of a frame with the shortest form of a length. RFC 6455 §5.2.
func lengthOf(first, mask byte, n uint64) []byte {
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 1<<16:
		return []byte{first, mask | 126, byte(n >> 8), byte(n)}
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, n)
	}
}

// unmasked returns a frame as only a server may send it.
func unmasked(first byte, payload string) []byte {
	return append(lengthOf(first, 0, uint64(len(payload))), payload...)
}

// header returns the first bytes of a masked frame with a payload of n bytes, up to the masking key.
func header(first byte, n uint64) []byte { return append(lengthOf(first, 0x80, n), 1, 2, 3, 4) }

func text(s string) []byte { return frame(fin|opText, s) }
func bin(s string) []byte  { return frame(fin|opBinary, s) }
func ping(s string) []byte { return frame(fin|opPing, s) }
func pong(s string) []byte { return frame(fin|opPong, s) }

// closing returns a close frame with a code and a reason.
func closing(code int, reason string) []byte {
	return frame(fin|opClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// message splits a message into frames of the given payloads.
func message(op byte, parts ...string) []byte {
	var b []byte
	for i, p := range parts {
		first := byte(opContinuation)
		if i == 0 {
			first = op
		}
		if i == len(parts)-1 {
			first |= fin
		}
		b = append(b, frame(first, p)...)
	}
	return b
}

func wantText(s string) Event      { return Event{Kind: Text, Data: []byte(s)} }
func wantBinary(s string) Event    { return Event{Kind: Binary, Data: []byte(s)} }
func wantPong(s string) Event      { return Event{Kind: Pong, Data: []byte(s)} }
func wantClose(codes ...int) Event { return Event{Kind: Close, Codes: codes} }

// fails is the end of a connection that the server has to fail, with one of the codes.
func fails(codes ...int) []Event { return []Event{wantClose(codes...)} }

// errServer begins each error about what the other side has sent and may not send: the server, or in the rules of
// clients the client.
var errServer = errors.New("the peer broke a rule")

func broke(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errServer, fmt.Sprintf(format, args...))
}

// receiver reads the frames of a server, or of a client, and checks them.
type receiver struct {
	r      *bufio.Reader
	masked bool // a client sends
	keys   map[[4]byte]int
	agreed Agreed
	window inflater

	op         byte // of the message that has begun, or 0
	compressed bool
	data       []byte
}

// next returns the next event. io.EOF is the end of the connection between two frames.
func (r *receiver) next() (Event, error) {
	for {
		first, payload, err := r.frame()
		if err != nil {
			return Event{}, err
		}
		if first&0xf >= opClose {
			return controlEvent(first, payload)
		}
		done, err := r.add(first, payload)
		if err != nil {
			return Event{}, err
		}
		if done {
			return r.message()
		}
	}
}

// frame reads a frame and checks its header. RFC 6455 §5.
func (r *receiver) frame() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r.r, head[:1]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r.r, head[1:]); err != nil {
		return 0, nil, fmt.Errorf("in a frame: %w", err)
	}
	first, op := head[0], head[0]&0xf
	if masked := head[1]&0x80 != 0; masked != r.masked {
		return 0, nil, broke("masked: %t, want %t (RFC 6455 §5.1)", masked, r.masked)
	}
	n := uint64(head[1] & 0x7f)
	if n >= 126 {
		var ext [8]byte
		size, least := 2, uint64(126)
		if n == 127 {
			size, least = 8, 1<<16
		}
		if _, err := io.ReadFull(r.r, ext[8-size:]); err != nil {
			return 0, nil, fmt.Errorf("in a frame: %w", err)
		}
		if n = binary.BigEndian.Uint64(ext[:]); n < least || n>>63 != 0 {
			return 0, nil, broke("a length of %d is not in its shortest form (RFC 6455 §5.2)", n)
		}
	}
	switch {
	case first&(rsv2|rsv3) != 0, first&rsv1 != 0 && (!r.agreed.On || op != opText && op != opBinary):
		return 0, nil, broke("reserved bits %#x on opcode %d (RFC 6455 §5.2, RFC 7692 §6)", first>>4&7, op)
	case op > opBinary && op < opClose || op > opPong:
		return 0, nil, broke("reserved opcode %d (RFC 6455 §5.2)", op)
	case op >= opClose && (n > 125 || first&fin == 0):
		return 0, nil, broke("a control frame of %d bytes, or in fragments (RFC 6455 §5.5)", n)
	case n > 1<<28:
		return 0, nil, broke("a frame of %d bytes", n)
	}
	payload, err = r.payload(n)
	return first, payload, err
}

// payload reads the payload of a frame, and its masking key if a client sends. RFC 6455 §5.3.
func (r *receiver) payload(n uint64) ([]byte, error) {
	var key [4]byte
	if r.masked {
		if _, err := io.ReadFull(r.r, key[:]); err != nil {
			return nil, fmt.Errorf("in a frame: %w", err)
		}
		r.keys[key]++
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r.r, payload); err != nil {
		return nil, fmt.Errorf("in a frame: %w", err)
	}
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return payload, nil
}

// add adds a data frame to its message. RFC 6455 §5.4.
func (r *receiver) add(first byte, payload []byte) (done bool, err error) {
	op := first & 0xf
	if (op == opContinuation) != (r.op != 0) {
		return false, broke("opcode %d while a message of opcode %d is incomplete (RFC 6455 §5.4)", op, r.op)
	}
	if op != opContinuation {
		r.op, r.compressed, r.data = op, first&rsv1 != 0, nil
	}
	r.data = append(r.data, payload...)
	return first&fin != 0, nil
}

// message returns the message that is complete.
func (r *receiver) message() (Event, error) {
	ev := Event{Kind: Text, Data: r.data, Compressed: r.compressed}
	if r.op == opBinary {
		ev.Kind = Binary
	}
	r.op = 0
	if r.compressed {
		var err error
		if ev.Data, err = r.window.message(ev.Data, r.agreed); err != nil {
			return ev, err
		}
	}
	if ev.Kind == Text && !utf8.Valid(ev.Data) {
		return ev, broke("text that is not UTF-8 (RFC 6455 §8.1)")
	}
	return ev, nil
}

// controlEvent checks a control frame. RFC 6455 §5.5, §7.4.
func controlEvent(first byte, payload []byte) (Event, error) {
	switch first & 0xf {
	case opPing:
		return Event{Kind: Ping, Data: payload}, nil
	case opPong:
		return Event{Kind: Pong, Data: payload}, nil
	}
	if len(payload) == 0 {
		return Event{Kind: Close, Codes: []int{1005}}, nil
	}
	if len(payload) == 1 {
		return Event{}, broke("a close frame with a payload of one byte (RFC 6455 §5.5.1)")
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case code < 1000, code >= 5000, code > 1014 && code < 3000, code >= 1004 && code <= 1006:
		return Event{}, broke("close code %d (RFC 6455 §7.4)", code)
	case !utf8.Valid(payload[2:]):
		return Event{}, broke("a close reason that is not UTF-8 (RFC 6455 §5.5.1)")
	}
	return Event{Kind: Close, Codes: []int{code}, Data: payload[2:]}, nil
}
