package conformance

import (
	"fmt"
	"strings"
)

// fragmentRules are about messages in several frames. RFC 6455 §5.4.
func fragmentRules() []Rule {
	protocol := fails(1002)
	return []Rule{{
		ID: "fragments", Section: "RFC 6455 §5.4", Text: "the payloads of fragments are joined in their order",
		Cases: fragmentCases(),
	}, {
		ID: "control-between-fragments", Section: "RFC 6455 §5.4",
		Text: "control frames between fragments are handled at once",
		Cases: []Case{
			{
				Name: "ping between two fragments", Send: join(frame(opText, "a"), ping("p"), frame(fin, "b")),
				Want: []Event{wantPong("p"), wantText("ab")},
			},
			{
				Name: "ping between each of many fragments",
				Send: join(frame(opBinary, "a"), ping("1"), frame(0, ""), ping("2"), pong("x"), frame(0, "b"), ping("3"),
					frame(fin, "c")),
				Want: []Event{wantPong("1"), wantPong("2"), wantPong("3"), wantBinary("abc")},
			},
			{
				Name: "the pong does not wait for the last fragment", Send: join(frame(opText, "a"), ping("p")),
				Want: []Event{wantPong("p")},
			},
			{Name: "nor for the rest of a fragmented message", Send: join(frame(opText, "a"), frame(0, "b"), ping("p"),
				ping("q")), Want: []Event{
				wantPong("p"), wantPong("q"),
			}},
			{Name: "close frame between fragments", Send: join(frame(opText, "a"), closing(1000, "")), Want: fails(1000)},
			{
				Name: "ping in the middle of a character", Send: join(frame(opText, "\xe2\x82"), ping("\xff"), frame(fin, "\xac")),
				Want: []Event{wantPong("\xff"), wantText("€")},
			},
		},
	}, {
		ID: "continuation-without-start", Section: "RFC 6455 §5.4",
		Text: "a continuation without a message that it continues fails the connection",
		Cases: []Case{
			{Name: "first frame", Send: frame(fin, "a"), Want: protocol},
			{Name: "first frame, not the last one", Send: frame(0, "a"), Want: protocol},
			{Name: "empty", Send: frame(fin, ""), Want: protocol},
			{
				Name: "after a whole message", Send: join(text("a"), frame(fin, "b")),
				Want: []Event{wantText("a"), wantClose(1002)},
			},
			{
				Name: "after the last fragment", Send: join(message(opText, "a", "b"), frame(0, "c")),
				Want: []Event{wantText("ab"), wantClose(1002)},
			},
			{Name: "after a ping", Send: join(ping(""), frame(fin, "b")), Want: []Event{wantPong(""), wantClose(1002)}},
		},
	}, {
		ID: "interleaved-messages", Section: "RFC 6455 §5.4",
		Text: "a message cannot begin before the last fragment of another one",
		Cases: []Case{
			{Name: "text in text", Send: join(frame(opText, "a"), text("b")), Want: protocol},
			{Name: "binary message in text", Send: join(frame(opText, "a"), bin("b")), Want: protocol},
			{Name: "text in a binary message", Send: join(frame(opBinary, "a"), text("b")), Want: protocol},
			{Name: "second first fragment", Send: join(frame(opText, "a"), frame(opText, "b"), frame(fin, "c")), Want: protocol},
			{Name: "after a continuation", Send: join(frame(opText, "a"), frame(0, "b"), bin("c")), Want: protocol},
			{
				Name: "after a ping", Send: join(frame(opText, "a"), ping("p"), text("b")),
				Want: []Event{wantPong("p"), wantClose(1002)},
			},
		},
	}}
}

func fragmentCases() []Case {
	cases := []Case{
		{Name: "two fragments", Send: message(opText, "he", "llo"), Want: []Event{wantText("hello")}},
		{Name: "three fragments", Send: message(opBinary, "a", "b", "c"), Want: []Event{wantBinary("abc")}},
		{Name: "empty fragments", Send: message(opText, "", "", ""), Want: []Event{wantText("")}},
		{Name: "empty first fragment", Send: message(opText, "", "a"), Want: []Event{wantText("a")}},
		{Name: "empty last fragment", Send: message(opText, "a", ""), Want: []Event{wantText("a")}},
		{
			Name: "two fragmented messages", Send: join(message(opText, "a", "b"), message(opBinary, "\xff", "\xfe")),
			Want: []Event{wantText("ab"), wantBinary("\xff\xfe")},
		},
	}
	const s = "Hello-µ@ßöäüàá-UTF-8!!"
	for i := range len(s) + 1 {
		cases = append(cases, Case{
			Name: fmt.Sprintf("text cut at byte %d", i), Send: message(opText, s[:i], s[i:]), Want: []Event{wantText(s)},
		})
	}
	var single []string
	for i := range len(s) {
		single = append(single, s[i:i+1])
	}
	long := strings.Repeat("0123456789abcdef", 4200)
	return append(
		cases,
		Case{Name: "a fragment for each byte", Send: message(opText, single...), Want: []Event{wantText(s)}},
		Case{
			Name: "fragments of different forms of length", Want: []Event{wantBinary(long[:126+65535+125])},
			Send: message(opBinary, long[:126], long[126:126+65535], long[126+65535:126+65535+125]),
		},
	)
}

// controlRules are about pings and pongs, and what all control frames have in common. RFC 6455 §5.5.
func controlRules() []Rule {
	protocol := fails(1002)
	full := strings.Repeat("x", 125)
	size := Rule{
		ID: "control-length", Section: "RFC 6455 §5.5",
		Text: "a control frame has at most 125 bytes of payload",
	}
	fragmented := Rule{ID: "control-fragmented", Section: "RFC 6455 §5.5", Text: "a control frame is not fragmented"}
	for _, k := range []struct {
		name  string
		first byte
	}{{"ping", opPing}, {"pong", opPong}, {"close frame", opClose}} {
		size.Cases = append(
			size.Cases,
			Case{Name: k.name + " of 126 bytes", Send: frame(fin|k.first, "\x03\xe8"+full[1:]), Want: protocol},
			Case{Name: k.name + " of 65536 bytes", Send: header(fin|k.first, 65536), Want: protocol},
		)
		fragmented.Cases = append(
			fragmented.Cases,
			Case{Name: k.name, Send: frame(k.first, "\x03\xe8"), Want: protocol},
			Case{Name: k.name + ", empty", Send: frame(k.first, ""), Want: protocol},
			Case{Name: k.name + ", continued", Send: join(frame(k.first, "\x03\xe8"), frame(fin, "a")), Want: protocol},
			Case{Name: k.name + " within a message", Send: join(frame(opText, "a"), frame(k.first, "\x03\xe8")), Want: protocol},
		)
	}
	var flood []byte
	var answers []Event
	for i := range 10 {
		flood = append(flood, ping(fmt.Sprintf("payload-%d", i))...)
		answers = append(answers, wantPong(fmt.Sprintf("payload-%d", i)))
	}
	return []Rule{size, fragmented, {
		ID: "ping-answered", Section: "RFC 6455 §5.5.2", Text: "a ping is answered with a pong",
		Cases: []Case{
			{Name: "empty", Send: ping(""), Want: []Event{wantPong("")}},
			{Name: "before and after a message", Send: join(ping("1"), text("a"), ping("2")), Want: []Event{
				wantPong("1"), wantText("a"), wantPong("2"),
			}},
			{Name: "ten pings in one write", Send: flood, Want: answers},
		},
	}, {
		ID: "pong-payload", Section: "RFC 6455 §5.5.3", Text: "a pong has the payload of its ping",
		Cases: []Case{
			{Name: "text", Send: ping("Hello, world!"), Want: []Event{wantPong("Hello, world!")}},
			{Name: "no text", Send: ping("\x00\xff\xfe\xfd"), Want: []Event{wantPong("\x00\xff\xfe\xfd")}},
			{Name: "125 bytes", Send: ping(full), Want: []Event{wantPong(full)}},
		},
	}, {
		ID: "pong-unsolicited", Section: "RFC 6455 §5.5.3", Text: "a pong that was not asked for is not answered",
		Cases: []Case{
			{Name: "empty", Send: pong("")},
			{Name: "with a payload", Send: pong("unsolicited")},
			{Name: "125 bytes", Send: pong(full)},
			{Name: "before a ping", Send: join(pong("a"), ping("b")), Want: []Event{wantPong("b")}},
			{
				Name: "within a message", Send: join(frame(opText, "a"), pong("p"), frame(fin, "b")),
				Want: []Event{wantText("ab")},
			},
		},
	}}
}
