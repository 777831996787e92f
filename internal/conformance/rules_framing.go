package conformance

import (
	"fmt"
	"strings"
)

// framingRules are about the first bytes of a frame. RFC 6455 §5.2.
func framingRules() []Rule {
	protocol := fails(1002)
	reserved := Rule{
		ID: "reserved-opcode", Section: "RFC 6455 §5.2",
		Text: "a reserved opcode fails the connection",
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		reserved.Cases = append(
			reserved.Cases,
			Case{Name: fmt.Sprintf("opcode %d", op), Send: frame(fin|op, "a"), Want: protocol},
			Case{
				Name: fmt.Sprintf("opcode %d, empty, after a message", op), Send: join(text("a"), frame(fin|op, "")),
				Want: append(
					[]Event{wantText("a")}, protocol...),
			},
			Case{
				Name: fmt.Sprintf("opcode %d within a message", op), Send: join(frame(opText, "a"), frame(fin|op, "b")),
				Want: protocol,
			},
		)
	}
	return append(reservedBitRules(), reserved, lengthRule(), Rule{
		ID: "payload-lengths", Section: "RFC 6455 §5.2", Text: "payloads of every form of length are accepted",
		Cases: lengthCases(),
	}, Rule{
		ID: "many-frames", Section: "RFC 6455 §5.2", Text: "frames are delimited by their lengths, however they are read",
		Cases: []Case{
			{
				Name: "several messages in one write", Send: join(text("a"), bin(""), text("b"), bin("\xff")),
				Want: []Event{wantText("a"), wantBinary(""), wantText("b"), wantBinary("\xff")},
			},
			{Name: "empty text", Send: text(""), Want: []Event{wantText("")}},
			{Name: "empty binary message", Send: bin(""), Want: []Event{wantBinary("")}},
		},
	})
}

func reservedBitRules() []Rule {
	protocol := fails(1002)
	bits := Rule{
		ID: "reserved-bits", Section: "RFC 6455 §5.2",
		Text: "a reserved bit that no extension has given a meaning fails the connection",
	}
	for name, bit := range map[string]byte{"RSV2": rsv2, "RSV3": rsv3, "RSV2 and RSV3": rsv2 | rsv3} {
		bits.Cases = append(
			bits.Cases,
			Case{Name: name + " on text", Send: frame(fin|bit|opText, "a"), Want: protocol},
			Case{Name: name + " on a binary message", Send: frame(fin|bit|opBinary, ""), Want: protocol},
			Case{Name: name + " on a continuation", Send: join(frame(opText, "a"), frame(fin|bit, "b")), Want: protocol},
			Case{Name: name + " on a ping", Send: frame(fin|bit|opPing, ""), Want: protocol},
			Case{Name: name + " on a pong", Send: frame(fin|bit|opPong, ""), Want: protocol},
			Case{Name: name + " on a close frame", Send: frame(fin|bit|opClose, "\x03\xe8"), Want: protocol},
		)
	}
	plain := Rule{
		ID: "rsv1-unnegotiated", Section: "RFC 6455 §5.2",
		Text: "RSV1 without an extension fails the connection",
		Cases: []Case{
			{Name: "text", Send: frame(fin|rsv1|opText, "a"), Want: protocol},
			{Name: "binary message", Send: frame(fin|rsv1|opBinary, "a"), Want: protocol},
			{Name: "first fragment", Send: frame(rsv1|opText, "a"), Want: protocol},
			{Name: "continuation", Send: join(frame(opText, "a"), frame(fin|rsv1, "b")), Want: protocol},
			{Name: "ping", Send: frame(fin|rsv1|opPing, ""), Want: protocol},
			{Name: "close frame", Send: frame(fin|rsv1|opClose, ""), Want: protocol},
			{Name: "all reserved bits", Send: frame(fin|rsv1|rsv2|rsv3|opText, "a"), Want: protocol},
		},
	}
	return []Rule{bits, plain}
}

// lengthRule is about lengths that are not in their shortest form, or have 64 bits.
func lengthRule() Rule {
	protocol := fails(1002)
	r := Rule{ID: "shortest-length", Section: "RFC 6455 §5.2", Text: "a length has its shortest form, and at most 63 bits"}
	for _, op := range []byte{opText, opBinary} {
		for _, n := range []byte{0, 1, 125} {
			r.Cases = append(r.Cases, Case{
				Name: fmt.Sprintf("16-bit form of %d, opcode %d", n, op), Want: protocol,
				Send: append([]byte{fin | op, 0xfe, 0, n, 0, 0, 0, 0}, make([]byte, n)...),
			})
		}
		for _, n := range []int{0, 125, 126, 65535} {
			r.Cases = append(r.Cases, Case{
				Name: fmt.Sprintf("64-bit form of %d, opcode %d", n, op), Want: protocol,
				Send: append([]byte{fin | op, 0xff, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n), 0, 0, 0, 0}, make([]byte, n)...),
			})
		}
	}
	r.Cases = append(
		r.Cases,
		Case{
			Name: "16-bit form of 5 on a ping", Send: []byte{fin | opPing, 0xfe, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5},
			Want: protocol,
		},
		Case{
			Name: "64-bit form of 2 on a close frame", Want: protocol,
			Send: []byte{fin | opClose, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0xe8},
		},
		Case{
			Name: "16-bit form of 1 on a continuation", Want: protocol,
			Send: join(frame(opText, "a"), []byte{fin, 0xfe, 0, 1, 0, 0, 0, 0, 'b'}),
		},
		Case{
			Name: "length with its highest bit set", Want: fails(1002, 1009),
			Send: []byte{fin | opBinary, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
		},
		Case{
			Name: "length of 2^64-1", Want: fails(1002, 1009),
			Send: []byte{fin | opText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1},
		},
	)
	return r
}

func lengthCases() (cases []Case) {
	for _, n := range []int{1, 2, 124, 125, 126, 127, 128, 254, 255, 256, 65534, 65535, 65536, 65537, 1 << 17} {
		s := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		cases = append(
			cases,
			Case{Name: fmt.Sprintf("text of %d bytes", n), Send: text(s), Want: []Event{wantText(s)}},
			Case{Name: fmt.Sprintf("binary message of %d bytes", n), Send: bin(s), Want: []Event{wantBinary(s)}},
		)
	}
	return cases
}

// maskRules are about masking. RFC 6455 §5.1, §5.3.
func maskRules() []Rule {
	protocol := fails(1002)
	keys := Rule{
		ID: "unmasking", Section: "RFC 6455 §5.3",
		Text: "the server removes the mask with any key, at any offset",
	}
	for _, key := range [][4]byte{{}, {1}, {0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff}, {0x80, 0x7f, 0xfe, 0x01}} {
		for n := range 20 {
			s := "abcdefghijklmnopqrstuvwxyz"[:n]
			keys.Cases = append(keys.Cases, Case{
				Name: fmt.Sprintf("key %x, %d bytes", key, n), Send: maskedWith(key, fin|opText, s), Want: []Event{wantText(s)},
			})
		}
	}
	long := strings.Repeat("0123456789", 1000)
	keys.Cases = append(keys.Cases, Case{
		Name: "another key for each fragment", Want: []Event{wantText(long + "é" + long)},
		Send: join(maskedWith([4]byte{1, 2, 3, 4}, opText, long+"\xc3"), maskedWith([4]byte{9, 8, 7, 6}, fin, "\xa9"+long)),
	})
	return []Rule{{
		ID: "masking-required", Section: "RFC 6455 §5.1",
		Text: "a frame of a client that is not masked ends the connection",
		Cases: []Case{
			{Name: "text", Send: unmasked(fin|opText, "hello"), Want: protocol},
			{Name: "empty text", Send: unmasked(fin|opText, ""), Want: protocol},
			{Name: "binary message of 126 bytes", Send: unmasked(fin|opBinary, strings.Repeat("a", 126)), Want: protocol},
			{Name: "binary message of 65536 bytes", Send: unmasked(fin|opBinary, strings.Repeat("a", 65536)), Want: protocol},
			{Name: "ping", Send: unmasked(fin|opPing, "a"), Want: protocol},
			{Name: "pong", Send: unmasked(fin|opPong, ""), Want: protocol},
			{Name: "close frame", Send: unmasked(fin|opClose, "\x03\xe8"), Want: protocol},
			{Name: "continuation", Send: join(frame(opText, "a"), unmasked(fin, "b")), Want: protocol},
			{
				Name: "after a message", Send: join(text("a"), unmasked(fin|opText, "b")),
				Want: []Event{wantText("a"), wantClose(1002)},
			},
		},
	}, keys}
}
