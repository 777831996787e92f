package conformance

import (
	"fmt"
	"strings"
)

// sequence is bytes that are no UTF-8. The byte at index bad is the first that no valid text can have.
type sequence struct {
	name  string
	bytes string
	bad   int
}

func invalidSequences() []sequence {
	return []sequence{
		{"continuation byte alone", "\x80", 0},
		{"last continuation byte alone", "\xbf", 0},
		{"two continuation bytes", "\x80\xbf", 0},
		{"byte 0xfe", "\xfe", 0},
		{"byte 0xff", "\xff", 0},
		{"byte 0xc0", "\xc0\xaf", 0},
		{"byte 0xc1", "\xc1\xbf", 0},
		{"byte 0xf5", "\xf5\x80\x80\x80", 0},
		{"overlong form in three bytes", "\xe0\x80\xaf", 1},
		{"highest overlong form in three bytes", "\xe0\x9f\xbf", 1},
		{"overlong form in four bytes", "\xf0\x80\x80\xaf", 1},
		{"highest overlong form in four bytes", "\xf0\x8f\xbf\xbf", 1},
		{"form of five bytes", "\xf8\x88\x80\x80\x80", 0},
		{"form of six bytes", "\xfc\x84\x80\x80\x80\x80", 0},
		{"first surrogate", "\xed\xa0\x80", 1},
		{"last high surrogate", "\xed\xaf\xbf", 1},
		{"first low surrogate", "\xed\xb0\x80", 1},
		{"last surrogate", "\xed\xbf\xbf", 1},
		{"pair of surrogates", "\xed\xa0\x80\xed\xb0\x80", 1},
		{"beyond U+10FFFF", "\xf4\x90\x80\x80", 1},
		{"character of two bytes cut off", "\xc3a", 1},
		{"character of three bytes cut off", "\xe2\x82a", 2},
		{"character of four bytes cut off", "\xf0\x9f\x98a", 3},
		{"first byte twice", "\xe2\xe2\x82\xac", 1},
	}
}

// textRules are about UTF-8. RFC 6455 §8.1.
func textRules() []Rule {
	invalid := fails(1007)
	whole := Rule{
		ID: "utf8-invalid", Section: "RFC 6455 §8.1",
		Text: "a text message that is not UTF-8 fails the connection",
	}
	early := Rule{
		ID: "utf8-fail-fast", Section: "RFC 6455 §8.1", Level: Should,
		Text: "the connection fails at the first byte that no UTF-8 text can have there, before the rest arrives",
	}
	for _, s := range invalidSequences() {
		good := "κόσμε"
		whole.Cases = append(
			whole.Cases,
			Case{Name: s.name, Send: text(s.bytes), Want: invalid},
			Case{Name: s.name + ", after and before text", Send: text(good + s.bytes + good), Want: invalid},
			Case{
				Name: s.name + ", after 4 KiB of ASCII", Send: text(strings.Repeat("a", 4096) + s.bytes + good), Want: invalid,
			},
		)
		for i := range len(s.bytes) + 1 {
			whole.Cases = append(whole.Cases, Case{
				Name: fmt.Sprintf("%s, in fragments cut at %d", s.name, i),
				Send: message(opText, good+s.bytes[:i], s.bytes[i:]+good), Want: invalid,
			})
		}
		upTo := s.bytes[:s.bad+1]
		long := len(good) + len(s.bytes) + 1000
		early.Cases = append(
			early.Cases,
			Case{
				Name: s.name, Send: frame(fin|opText, good+upTo+strings.Repeat("a", 1000))[:6+2+len(good)+len(upTo)],
				Want: invalid,
			},
			Case{
				Name: s.name + ", in a fragment", Want: invalid,
				Send: join(frame(opText, good), frame(0, upTo+strings.Repeat("b", long))[:6+2+len(upTo)]),
			},
		)
	}
	incomplete := Rule{
		ID: "utf8-incomplete", Section: "RFC 6455 §8.1",
		Text: "a text message that ends within a character fails the connection",
	}
	for _, s := range []string{"\xc3", "a\xe2", "a\xe2\x82", "\xf0", "\xf0\x9f", "\xf0\x9f\x98", "é\xc3"} {
		incomplete.Cases = append(
			incomplete.Cases,
			Case{Name: fmt.Sprintf("%q", s), Send: text(s), Want: invalid},
			Case{Name: fmt.Sprintf("%q, in fragments", s), Send: message(opText, s, ""), Want: invalid},
			Case{Name: fmt.Sprintf("%q, a ping before the last fragment", s), Want: append([]Event{wantPong("")},
				invalid...), Send: join(
				frame(opText, s), ping(""), frame(fin, ""))},
		)
	}
	return []Rule{whole, early, incomplete, {
		ID: "utf8-valid", Section: "RFC 6455 §8.1", Text: "every UTF-8 text is accepted, wherever its frames are cut",
		Cases: validText(),
	}, {
		ID: "binary-is-bytes", Section: "RFC 6455 §5.6", Text: "a binary message may have any bytes",
		Cases: []Case{
			{Name: "all bytes", Send: bin(allBytes()), Want: []Event{wantBinary(allBytes())}},
			{Name: "in fragments", Send: message(opBinary, "\xe2", "\x82", "\xff"), Want: []Event{wantBinary("\xe2\x82\xff")}},
			{
				Name: "text after an incomplete character in a binary message",
				Send: join(message(opBinary, "\xe2", "\x82"), text("é")), Want: []Event{wantBinary("\xe2\x82"), wantText("é")},
			},
		},
	}}
}

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// validText has the first and last characters of each length, those around the surrogates, and non-characters, which
// are valid.
func validText() (cases []Case) {
	for _, r := range []rune{
		0, 1, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xcfff, 0xd000, 0xd7ff, 0xe000, 0xfdd0, 0xfffd, 0xfffe, 0xffff,
		0x10000,
		0x1fffe, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10fffe, 0x10ffff,
	} {
		s := "a" + string(r) + "z"
		cases = append(cases, Case{Name: fmt.Sprintf("%U", r), Send: text(s), Want: []Event{wantText(s)}})
		for i := 1; i < len(s); i++ {
			cases = append(cases, Case{
				Name: fmt.Sprintf("%U, cut at %d", r, i), Send: message(opText, s[:i], s[i:]), Want: []Event{wantText(s)},
			})
		}
	}
	mixed := strings.Repeat("aé€😀", 2000)
	return append(cases, Case{Name: "all lengths of characters", Send: text(mixed), Want: []Event{wantText(mixed)}})
}

// sizeRules are about large messages. RFC 6455 §5.2, §10.4.
func sizeRules() []Rule {
	large := Rule{
		ID: "large-messages", Section: "RFC 6455 §5.2",
		Text: "messages of up to 16 MiB are accepted, in one frame or in many",
	}
	needs := []Feature{Large}
	pattern := strings.Repeat("0123456789abcdef", LargestMessage/16)
	for _, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
		s := pattern[:n]
		large.Cases = append(
			large.Cases,
			Case{Name: fmt.Sprintf("text of %d KiB", n>>10), Needs: needs, Send: text(s), Want: []Event{wantText(s)}},
			Case{Name: fmt.Sprintf("binary message of %d KiB", n>>10), Needs: needs, Send: bin(s), Want: []Event{wantBinary(s)}},
			Case{
				Name:  fmt.Sprintf("text of %d KiB in fragments of 64 KiB", n>>10),
				Needs: needs, Send: message(opText, pieces(s, 64<<10)...), Want: []Event{wantText(s)},
			},
		)
	}
	for _, n := range []int{64, 256, 1024, 4096} {
		s := pattern[:1<<20]
		large.Cases = append(large.Cases, Case{
			Name: fmt.Sprintf("1 MiB in fragments of %d bytes", n), Needs: needs,
			Send: message(opBinary, pieces(s, n)...), Want: []Event{wantBinary(s)},
		})
	}
	tiny := pattern[:1<<20]
	large.Cases = append(
		large.Cases,
		Case{
			Name: "1 MiB of text in fragments of one byte", Needs: needs, Send: message(opText, pieces(tiny, 1)...),
			Want: []Event{
				wantText(tiny),
			},
		},
	)
	return []Rule{large, {
		ID: "too-large", Section: "RFC 6455 §10.4", Level: Should,
		Text: "a message beyond the server's limit ends the connection with 1009 as soon as its header says so",
		Cases: []Case{
			{
				Name: "one byte more, before the payload", Needs: []Feature{Limited}, Send: header(fin|opBinary, LargestMessage+1),
				Want: fails(1009),
			},
			{Name: "length of 2^63-1", Needs: []Feature{Limited}, Send: header(fin|opText, 1<<63-1), Want: fails(1009)},
			{
				Name: "over two fragments", Needs: []Feature{Limited}, Want: fails(1009),
				Send: join(frame(opText, "a"), header(fin, LargestMessage)),
			},
			{
				Name: "two fragments of 2^63-1", Needs: []Feature{Limited}, Want: fails(1009),
				Send: join(frame(opText, "a"), header(0, 1<<63-1)),
			},
		},
	}}
}

func pieces(s string, n int) (list []string) {
	for len(s) > n {
		list, s = append(list, s[:n]), s[n:]
	}
	return append(list, s)
}
