package conformance

import (
	"fmt"
	"strings"
)

// closeRules are about the closing handshake. RFC 6455 §5.5.1, §7.
func closeRules() []Rule {
	answered := []Event{wantClose(1000)}
	return []Rule{{
		ID: "close-answered", Section: "RFC 6455 §5.5.1",
		Text: "a close frame is answered with a close frame, and the server closes the connection",
		Cases: []Case{
			{Name: "with code 1000", Send: closing(1000, ""), Want: answered},
			{Name: "without a code", Send: frame(fin|opClose, ""), Want: []Event{wantClose(1000, 1005)}},
			{Name: "with a reason", Send: closing(1000, "bye"), Want: answered},
			{Name: "with a reason of 123 bytes", Send: closing(1000, strings.Repeat("x", 123)), Want: answered},
			{Name: "with a reason in UTF-8", Send: closing(1000, "Grüße"), Want: answered},
			{Name: "with code 1001", Send: closing(1001, ""), Want: []Event{wantClose(1001, 1000)}},
			{Name: "after a message", Send: join(text("a"), closing(1000, "")), Want: []Event{wantText("a"), wantClose(1000)}},
			{Name: "after a ping", Send: join(ping("p"), closing(1000, "")), Want: []Event{wantPong("p"), wantClose(1000)}},
		},
	}, {
		ID: "nothing-after-close", Section: "RFC 6455 §5.5.1",
		Text: "what follows a close frame is not processed",
		Cases: []Case{
			{Name: "text", Send: join(closing(1000, ""), text("a")), Want: answered},
			{Name: "ping", Send: join(closing(1000, ""), ping("a")), Want: answered},
			{Name: "second close frame", Send: join(closing(1000, ""), closing(1001, "")), Want: answered},
			{Name: "invalid frame", Send: join(closing(1000, ""), []byte{0xff, 0xff, 0xff}), Want: answered},
			{Name: "rest of a message", Send: join(frame(opText, "a"), closing(1000, ""), frame(fin, "b")), Want: answered},
		},
	}, {
		ID: "nothing-after-failure", Section: "RFC 6455 §7.1.7",
		Text: "what follows an error is not processed",
		Cases: []Case{
			{Name: "text", Send: join(frame(fin, "a"), text("b")), Want: fails(1002)},
			{Name: "ping", Send: join(frame(fin|3, ""), ping("b")), Want: fails(1002)},
			{Name: "close frame", Send: join(text("\xff"), closing(1000, "")), Want: fails(1007)},
			{Name: "another error", Send: join(text("\xff"), frame(fin|3, "")), Want: fails(1007)},
			{Name: "64 KiB", Send: join(frame(fin|rsv2|opText, ""), bin(strings.Repeat("a", 64<<10))), Want: fails(1002)},
		},
	}, {
		ID: "close-payload", Section: "RFC 6455 §5.5.1",
		Text: "the payload of a close frame is empty or begins with a code of two bytes",
		Cases: []Case{
			{Name: "one byte", Send: frame(fin|opClose, "\x03"), Want: fails(1002)},
			{Name: "one byte of zero", Send: frame(fin|opClose, "\x00"), Want: fails(1002)},
		},
	}, {
		ID: "close-reason", Section: "RFC 6455 §5.5.1", Text: "the reason in a close frame is UTF-8",
		Cases: []Case{
			{Name: "byte that never occurs", Send: closing(1000, "\xff"), Want: fails(1007, 1002)},
			{Name: "surrogate", Send: closing(1000, "a\xed\xa0\x80b"), Want: fails(1007, 1002)},
			{Name: "incomplete character", Send: closing(1000, "a\xe2\x82"), Want: fails(1007, 1002)},
			{Name: "overlong form", Send: closing(1000, "\xc0\xaf"), Want: fails(1007, 1002)},
		},
	}}
}

// codeRules are about close codes. RFC 6455 §7.4.
func codeRules() []Rule {
	valid := Rule{
		ID: "close-codes-valid", Section: "RFC 6455 §7.4",
		Text: "a close code that is defined, registered or for applications ends the connection normally",
	}
	for _, code := range []int{
		1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999,
	} {
		valid.Cases = append(
			valid.Cases,
			Case{Name: fmt.Sprint(code), Send: closing(code, ""), Want: []Event{wantClose(code, 1000)}},
			Case{Name: fmt.Sprint(code, " with a reason"), Send: closing(code, "reason"), Want: []Event{wantClose(code, 1000)}},
		)
	}
	invalid := Rule{
		ID: "close-codes-invalid", Section: "RFC 6455 §7.4",
		Text: "a close code that no close frame may have fails the connection",
	}
	for _, code := range []int{
		0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1099, 1100, 1999, 2000, 2999, 5000, 5001, 32768, 65535,
	} {
		invalid.Cases = append(
			invalid.Cases,
			Case{Name: fmt.Sprint(code), Send: closing(code, ""), Want: fails(1002)},
			Case{Name: fmt.Sprint(code, " with a reason"), Send: closing(code, "reason"), Want: fails(1002)},
		)
	}
	return []Rule{valid, invalid}
}
