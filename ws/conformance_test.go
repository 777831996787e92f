package ws

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule is a stream of bytes, what RFC 6455 says about it, and where.
type rule struct {
	name   string // the rule
	clause string
	cfg    ReaderConfig
	stream []byte
	events []string
	err    *ProtocolError
	at     int // the error comes with this byte, counted from 1
}

// short is the length of the header of a masked frame with a 7-bit payload length.
const short = 6

func conformance() []rule {
	return slices.Concat(dataRules(), frameRules(), fragmentRules(), controlRules(), closeRules(), textRules(),
		limitRules(), compressionRules())
}

func dataRules() []rule {
	client := ReaderConfig{Role: Client}
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	big := strings.Repeat("0123456789abcdef", 4097)
	return []rule{
		{name: "text", clause: "§5.6", stream: s(true, OpText, "hello"), events: []string{"text hello"}},
		{name: "binary", clause: "§5.6", stream: s(true, OpBinary, "\xff\x00"), events: []string{"binary \xff\x00"}},
		{name: "empty text is a message", clause: "§5.6", stream: s(true, OpText, ""), events: []string{"text "}},
		{
			name: "16-bit length", clause: "§5.2",
			stream: s(true, OpText, big[:126]), events: []string{"text " + big[:126]},
		},
		{
			name: "longest 16-bit length", clause: "§5.2", stream: s(true, OpBinary, big[:65535]),
			events: []string{"binary " + big[:65535]},
		},
		{
			name: "64-bit length", clause: "§5.2", stream: s(true, OpBinary, big[:65536]),
			events: []string{"binary " + big[:65536]},
		},
		{
			name: "several frames in one read", clause: "§5.1",
			stream: join(s(true, OpText, "a"), s(true, OpBinary, ""), s(true, OpText, "b")),
			events: []string{"text a", "binary ", "text b"},
		},
		{ // from its second byte on it looks like a binary message of 33 bytes
			name: "header whose rest looks like a message", clause: "§5.2",
			stream: join(s(true, OpBinary, "ab"), s(true, OpBinary, big[:50])),
			events: []string{"binary ab", "binary " + big[:50]},
		},
		{
			name: "server's frame at a client", clause: "§5.1", cfg: client,
			stream: frame(Client, true, OpText, "hello"),
			events: []string{"text hello"},
		},
	}
}

func frameRules() []rule {
	client := ReaderConfig{Role: Client}
	h := func(rsv uint8, op Opcode) []byte {
		return rawFrame(Header{Fin: true, RSV: rsv, Opcode: op, Masked: true}, "")
	}
	rules := []rule{
		{name: "RSV1 without an extension", clause: "§5.2", stream: h(4, OpText), err: errReservedBits, at: short},
		{name: "RSV2", clause: "§5.2", stream: h(2, OpText), err: errReservedBits, at: short},
		{name: "RSV3", clause: "§5.2", stream: h(1, OpText), err: errReservedBits, at: short},
		{name: "RSV1 on a ping", clause: "§5.2", stream: h(4, OpPing), err: errReservedBits, at: short},
		{
			name: "frame of a client not masked", clause: "§5.1", stream: frame(Client, true, OpText, "hello"),
			err: errNotMasked, at: 2,
		},
		{
			name: "ping of a client not masked", clause: "§5.1", stream: frame(Client, true, OpPing, ""),
			err: errNotMasked, at: 2,
		},
		{
			name: "frame of a server masked", clause: "§5.1", cfg: client,
			stream: frame(Server, true, OpText, "hello"),
			err:    errMasked, at: short,
		},
		{
			name: "16-bit form of 125", clause: "§5.2",
			stream: []byte{0x82, 0xfe, 0, 125, 0, 0, 0, 0}, err: errLengthForm, at: 4,
		},
		{
			name: "64-bit form of 65535", clause: "§5.2",
			stream: []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0},
			err:    errLengthForm, at: 10,
		},
		{
			name: "64-bit length with its top bit", clause: "§5.2",
			stream: []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1},
			err:    errLengthBit, at: 3,
		},
	}
	for _, op := range []Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		rules = append(rules, rule{
			name: "reserved " + op.String(), clause: "§5.2", stream: h(0, op),
			err: errReservedOpcode, at: short,
		})
	}
	return rules
}

func fragmentRules() []rule {
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	return []rule{
		{
			name: "message in three fragments", clause: "§5.4",
			stream: join(s(false, OpText, "he"), s(false, OpContinuation, "ll"), s(true, OpContinuation, "o")),
			events: []string{"text hello"},
		},
		{
			name: "fragments may be empty", clause: "§5.4",
			stream: join(s(false, OpText, ""), s(false, OpContinuation, ""), s(true, OpContinuation, "")),
			events: []string{"text "},
		},
		{
			name: "control frames stand between fragments", clause: "§5.4",
			stream: join(s(false, OpText, "a"), s(true, OpPing, "p"), s(true, OpPong, ""), s(true, OpContinuation,
				"b")),
			events: []string{`ping "p"`, `pong ""`, "text ab"},
		},
		{
			name: "continuation without a start", clause: "§5.4",
			stream: s(true, OpContinuation, "a"), err: errNoStart, at: short,
		},
		{
			name: "continuation after the last fragment", clause: "§5.4",
			stream: join(s(true, OpText, "a"), s(true, OpContinuation, "b")), events: []string{"text a"},
			err: errNoStart, at: short + 1 + short,
		},
		{
			name: "message inside a fragmented one", clause: "§5.4",
			stream: join(s(false, OpText, "a"), s(true, OpBinary, "b")), err: errNotFinished, at: short + 1 + short,
		},
		{
			name: "second start of a fragmented message", clause: "§5.4",
			stream: join(s(false, OpText, "a"), s(false, OpText, "b")), err: errNotFinished, at: short + 1 + short,
		},
		{
			name: "nothing follows an error", clause: "§7.1.7",
			stream: join(s(true, OpContinuation, "a"), s(true, OpText, "b"), s(true, OpContinuation, "c")),
			err:    errNoStart, at: short,
		},
	}
}

func controlRules() []rule {
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	full := strings.Repeat("x", maxControl)
	return []rule{
		{name: "ping", clause: "§5.5.2", stream: s(true, OpPing, "\xffp"), events: []string{`ping "\xffp"`}},
		{
			name: "pong that nobody asked for", clause: "§5.5.3",
			stream: s(true, OpPong, "p"), events: []string{`pong "p"`},
		},
		{name: "empty ping", clause: "§5.5.2", stream: s(true, OpPing, ""), events: []string{`ping ""`}},
		{
			name: "control frame of 125 bytes", clause: "§5.5", stream: s(true, OpPing, full),
			events: []string{`ping "` + full + `"`},
		},
		{
			name: "control frame of 126 bytes", clause: "§5.5",
			stream: s(true, OpPing, full+"x"), err: errControlLength, at: 8,
		},
		{
			name: "close frame of 126 bytes", clause: "§5.5",
			stream: s(true, OpClose, full+"x"), err: errControlLength, at: 8,
		},
		{name: "ping in fragments", clause: "§5.5", stream: s(false, OpPing, "p"), err: errControlParts, at: short},
		{name: "close in fragments", clause: "§5.5", stream: s(false, OpClose, ""), err: errControlParts, at: short},
		{
			name: "server's ping at a client", clause: "§5.5.2", cfg: ReaderConfig{Role: Client},
			stream: frame(Client, true, OpPing, full), events: []string{`ping "` + full + `"`},
		},
		{ // whatever a payload looks like on the wire, it begins no frame
			name: "ping whose payload looks like a message", clause: "§5.5.2",
			stream: s(true, OpPing, frameAsPayload()), events: []string{`ping ` + strconv.Quote(frameAsPayload())},
		},
	}
}

// frameAsPayload returns a payload that is a frame once it is masked with testKey.
func frameAsPayload() string {
	b := frame(Server, true, OpText, "ab")
	Mask(b, testKey, 0)
	return string(b)
}

func closeRules() []rule {
	s := func(p string) []byte { return frame(Server, true, OpClose, p) }
	rules := []rule{
		{name: "close without a code", clause: "§7.1.5", stream: s(""), events: []string{`close 1005 ""`}},
		{
			name: "close with a reason", clause: "§5.5.1", stream: s("\x03\xe8bye"),
			events: []string{`close 1000 "bye"`},
		},
		{
			name: "close within a message", clause: "§5.4",
			stream: join(frame(Server, false, OpText, "a"), s("\x03\xe9")),
			events: []string{`close 1001 ""`},
		},
		{
			name: "nothing follows a close", clause: "§5.5.1", events: []string{`close 1000 ""`},
			stream: join(s("\x03\xe8"), frame(Server, true, OpText, "a"), s("\x03\xe8"), []byte{0xff, 0xff, 0xff}),
		},
		{name: "close of one byte", clause: "§5.5.1", stream: s("\x03"), err: errCloseLength, at: short + 1},
		{
			name: "close reason that is no UTF-8", clause: "§5.5.1",
			stream: s("\x03\xe8\xc3"), err: errCloseText, at: short + 3,
		},
	}
	for _, c := range []CloseCode{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		rules = append(rules, rule{
			name: "code that no close may carry", clause: "§7.4",
			stream: s(string([]byte{byte(c >> 8), byte(c)})), err: errCloseCode, at: short + 2,
		})
	}
	return rules
}

func textRules() []rule {
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	return []rule{
		{
			name: "character across fragments", clause: "§5.6",
			stream: join(s(false, OpText, "\xf0\x9f"), s(true, OpPing, "\xff"), s(false, OpContinuation, "\x98"),
				s(true, OpContinuation, "\x80")), events: []string{`ping "\xff"`, "text \U0001f600"},
		},
		{
			name: "text is refused at its bad byte", clause: "§8.1", stream: s(true, OpText, "ab\xc0zzzz"),
			err: errText, at: short + 3,
		},
		{
			name: "surrogate is refused at its second byte", clause: "§8.1", stream: s(true, OpText, "\xed\xa0\x80z"),
			err: errText, at: short + 2,
		},
		{
			name: "bad byte across fragments", clause: "§8.1",
			stream: join(s(false, OpText, "\xf0"), s(true, OpContinuation, "\x80zz")),
			err:    errText, at: short + 1 + short + 1,
		},
		{
			name: "message that ends within a character", clause: "§8.1", stream: s(true, OpText, "a\xe2\x82"),
			err: errText, at: short + 3,
		},
		{
			name: "message that ends within a character, empty fragment", clause: "§8.1",
			stream: join(s(false, OpText, "\xc3"), s(true, OpContinuation, "")), err: errText, at: short + 1 + short,
		},
		{
			name: "each message starts afresh", clause: "§8.1",
			stream: join(s(false, OpBinary, "\xe2"), s(true, OpContinuation, "\x82"), s(true, OpText, "é")),
			events: []string{"binary \xe2\x82", "text é"},
		},
	}
}

func limitRules() []rule {
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	four, two, none := ReaderConfig{MaxMessage: 4}, ReaderConfig{MaxFragments: 2}, ReaderConfig{MaxFragments: -1}
	return []rule{
		{
			name: "message of the limit", clause: "§10.4", cfg: four, stream: s(true, OpText, "1234"),
			events: []string{"text 1234"},
		},
		{
			name: "message over the limit dies at its header", clause: "§10.4", cfg: four,
			stream: s(true, OpText, "12345"),
			err:    errTooBig, at: short,
		},
		{
			name: "limit spans the fragments", clause: "§10.4", cfg: four,
			stream: join(s(false, OpText, "123"), s(false, OpContinuation, "4"), s(true, OpContinuation, "5")),
			err:    errTooBig, at: 3*short + 4,
		},
		{
			name: "limit is per message", clause: "§10.4", cfg: four,
			stream: join(s(true, OpText, "123"), s(true, OpText, "456")), events: []string{"text 123", "text 456"},
		},
		{name: "default limit", clause: "§10.4", stream: AppendHeader(nil, Header{
			Fin: true, Opcode: OpBinary, Masked: true,
			Length: DefaultMaxMessage + 1,
		}), err: errTooBig, at: MaxHeader},
		{name: "longest length that a header can say", clause: "§10.4", stream: AppendHeader(nil, Header{
			Opcode: OpBinary,
			Masked: true, Length: 1<<63 - 1,
		}), err: errTooBig, at: MaxHeader},
		{
			name: "control frames are no part of the limit", clause: "§5.5", cfg: four,
			stream: s(true, OpPing, "12345"),
			events: []string{`ping "12345"`},
		},
		{
			name: "no limit", clause: "§10.4", cfg: ReaderConfig{MaxMessage: -1}, stream: s(true, OpText, "12345"),
			events: []string{"text 12345"},
		},
		{
			name: "no message is allowed", clause: "§10.4", cfg: none, stream: join(s(true, OpPing, ""), s(true, OpText, "")),
			events: []string{`ping ""`}, err: errFragments, at: 2 * short,
		},
		{
			name: "as many fragments as the limit", clause: "§10.4", cfg: two,
			stream: join(s(false, OpText, ""), s(true, OpContinuation, "a")), events: []string{"text a"},
		},
		{
			name: "more fragments than the limit", clause: "§10.4", cfg: two,
			stream: join(s(false, OpText, ""), s(false, OpContinuation, ""), s(false, OpContinuation, "")),
			err:    errFragments, at: 3 * short,
		},
	}
}

func compressionRules() []rule {
	cfg, limit := ReaderConfig{Compression: true}, ReaderConfig{Compression: true, MaxMessage: 160}
	long := strings.Repeat("z", 300)
	h := func(fin bool, rsv uint8, op Opcode, p string) []byte {
		return rawFrame(Header{Fin: fin, RSV: rsv, Opcode: op, Masked: true, Length: uint64(len(p))}, p)
	}
	return []rule{
		{
			name: "compressed message is no text yet", clause: "RFC 7692 §6", cfg: cfg,
			stream: join(h(false, 4, OpText, "\xff"), h(true, 0, OpContinuation, "\xc0")),
			events: []string{"text compressed \xff\xc0"},
		},
		{
			name: "plain message beside compressed ones", clause: "RFC 7692 §6", cfg: cfg,
			stream: join(h(true, 4, OpBinary, "a"), h(true, 0, OpText, "b\xff")),
			events: []string{"binary compressed a"},
			err:    errText, at: short + 1 + short + 2,
		},
		{
			name: "RSV1 on a continuation", clause: "RFC 7692 §6.1", cfg: cfg,
			stream: join(h(false, 4, OpText, "a"), h(true, 4, OpContinuation, "b")),
			err:    errReservedBits, at: 2*short + 1,
		},
		{
			name: "RSV1 on a control frame", clause: "RFC 7692 §6.1", cfg: cfg, stream: h(true, 4, OpPing, ""),
			err: errReservedBits, at: short,
		},
		{
			name: "RSV1 and RSV2", clause: "RFC 7692 §6", cfg: cfg,
			stream: h(true, 6, OpText, ""), err: errReservedBits, at: short,
		},
		{
			name: "compressed message may be a sixteenth longer", clause: "RFC 6455 §10.4", cfg: limit,
			stream: h(true, 4, OpBinary, long[:234]), events: []string{"binary compressed " + long[:234]},
		},
		{
			name: "compressed message over that", clause: "RFC 6455 §10.4", cfg: limit,
			stream: h(true, 4, OpBinary, long[:235]), err: errTooBig, at: 8,
		},
		{
			name: "compressed message may be 64 bytes longer", clause: "RFC 6455 §10.4",
			cfg:    ReaderConfig{Compression: true, MaxMessage: 4},
			stream: h(true, 4, OpBinary, long[:68]), events: []string{"binary compressed " + long[:68]},
		},
		{
			name: "plain message of the limit beside compressed ones", clause: "RFC 6455 §10.4", cfg: limit,
			stream: h(true, 0, OpBinary, long[:160]), events: []string{"binary " + long[:160]},
		},
		{
			name: "plain message over the limit beside compressed ones", clause: "RFC 6455 §10.4", cfg: limit,
			stream: h(true, 0, OpBinary, long[:161]), err: errTooBig, at: 8,
		},
		{
			name: "no limit for compressed messages", clause: "RFC 6455 §10.4",
			cfg:    ReaderConfig{Compression: true, MaxMessage: -1},
			stream: h(true, 4, OpBinary, long), events: []string{"binary compressed " + long},
		},
		{
			name: "largest limit for compressed messages", clause: "RFC 6455 §10.4",
			cfg:    ReaderConfig{Compression: true, MaxMessage: math.MaxInt64},
			stream: h(true, 4, OpBinary, long), events: []string{"binary compressed " + long},
		},
	}
}

func TestReaderHoldsPeersToTheRFC(t *testing.T) {
	for _, r := range conformance() {
		t.Run(r.clause+" "+r.name, func(t *testing.T) {
			got := bytewise(t, &r.cfg, r.stream)
			if !slices.Equal(got.events, r.events) {
				t.Errorf("got events %.200q, want %.200q", got.events, r.events)
			}
			if got.err != r.err {
				t.Errorf("got error %v, want %v", got.err, r.err)
			}
			if r.err != nil && got.at != r.at {
				t.Errorf("got the error at byte %d, want %d", got.at, r.at)
			}
			same(t, play(t, &r.cfg, r.stream, nil, false), got)
		})
	}
}

func TestProtocolErrorCarriesTheCodeOfItsRule(t *testing.T) {
	for err, want := range map[*ProtocolError]CloseCode{
		errReservedBits: 1002, errReservedOpcode: 1002, errLengthForm: 1002, errLengthBit: 1002, errNotMasked: 1002,
		errMasked: 1002, errControlParts: 1002, errControlLength: 1002, errNoStart: 1002, errNotFinished: 1002,
		errText: 1007, errTooBig: 1009, errFragments: 1008, errCloseLength: 1002, errCloseCode: 1002,
		errCloseText: 1007,
	} {
		if err.Code != want {
			t.Errorf("%v: got %d, want %d", err, err.Code, want)
		}
		if e := CheckClose(err.Code, err.Reason); e != nil {
			t.Errorf("%v: got %v, want a reason that a close frame may carry", err, e)
		}
	}
}
