package conformance

import (
	"fmt"
	"strings"
)

// ClientRules returns the rules of clients. Their cases have a Peer.
func ClientRules() []Rule {
	var all []Rule
	for _, group := range [][]Rule{clientAnswerRules(), clientExtensionRules(), clientFrameRules(), clientMessageRules()} {
		all = append(all, group...)
	}
	return all
}

// The fields of a correct response. {accept} is replaced by the accept value.
const (
	peerUpgrade    = "Upgrade: websocket\r\n"
	peerConnection = "Connection: Upgrade\r\n"
	peerAccept     = "Sec-WebSocket-Accept: {accept}\r\n"
	peerDeflate    = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
	switching      = "HTTP/1.1 101 Switching Protocols\r\n"
)

// shut returns a case whose answer must not open the WebSocket.
func shut(name, head string) Case {
	return Case{Name: name, Peer: &Peer{Answer: head + "\r\n", Refuse: true}}
}

// clientAnswerRules are about the answer to a handshake. RFC 6455 §4.1.
func clientAnswerRules() []Rule {
	status := func(code string) Case {
		return shut(code, "HTTP/1.1 "+code+" X\r\nContent-Length: 0\r\n"+peerUpgrade+peerConnection+peerAccept)
	}
	return []Rule{{
		ID: "client-request", Section: "RFC 6455 §4.1",
		Text: "a client sends a correct handshake with a new key, opens the WebSocket, and answers a ping",
		Cases: []Case{
			{Name: "correct answer", Peer: &Peer{}},
			{Name: "tokens in another case", Peer: &Peer{
				Answer: switching + "UPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\n" + peerAccept + "\r\n",
			}},
			{Name: "frames together with the answer", Peer: &Peer{Together: true, Send: unmasked(fin|opText, "early")}},
		},
	}, {
		ID: "client-status", Section: "RFC 6455 §4.1", Text: "a client does not open the WebSocket if the status is not 101",
		Cases: []Case{
			status("200"), status("204"), status("302"), status("401"), status("404"), status("503"),
			shut("101 in HTTP/1.0", "HTTP/1.0 101 X\r\n"+peerUpgrade+peerConnection+peerAccept),
		},
	}, {
		ID: "client-upgrade", Section: "RFC 6455 §4.1", Text: "a client fails if Upgrade is missing or not websocket",
		Cases: []Case{
			shut("missing", switching+peerConnection+peerAccept),
			shut("h2c", switching+"Upgrade: h2c\r\n"+peerConnection+peerAccept),
			shut("empty", switching+"Upgrade:\r\n"+peerConnection+peerAccept),
		},
	}, {
		ID: "client-connection", Section: "RFC 6455 §4.1", Text: "a client fails if Connection has no token Upgrade",
		Cases: []Case{
			shut("missing", switching+peerUpgrade+peerAccept),
			shut("keep-alive", switching+peerUpgrade+"Connection: keep-alive\r\n"+peerAccept),
			shut("part of a token", switching+peerUpgrade+"Connection: Upgraded\r\n"+peerAccept),
		},
	}, {
		ID: "client-accept", Section: "RFC 6455 §4.1", Text: "a client fails if Sec-WebSocket-Accept is missing or wrong",
		Cases: []Case{
			shut("missing", switching+peerUpgrade+peerConnection),
			shut("empty", switching+peerUpgrade+peerConnection+"Sec-WebSocket-Accept:\r\n"),
			shut("of another key", switching+peerUpgrade+peerConnection+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
			shut("the key itself", switching+peerUpgrade+peerConnection+"Sec-WebSocket-Accept: {key}\r\n"),
			shut("with something behind it", switching+peerUpgrade+peerConnection+"Sec-WebSocket-Accept: {accept}=\r\n"),
		},
	}, {
		ID: "client-subprotocol", Section: "RFC 6455 §4.1", Text: "a client fails if the subprotocol was not offered",
		Cases: []Case{
			shut("unknown", switching+peerUpgrade+peerConnection+peerAccept+"Sec-WebSocket-Protocol: c.example\r\n"),
			shut("a list", switching+peerUpgrade+peerConnection+peerAccept+
				"Sec-WebSocket-Protocol: "+SubprotocolA+", "+SubprotocolB+"\r\n"),
		},
	}}
}

// clientExtensionRules are about the extensions in an answer. RFC 6455 §9.1, RFC 7692 §7.1.
func clientExtensionRules() []Rule {
	chosen := func(value string) Case {
		return shut(value, switching+peerUpgrade+peerConnection+peerAccept+"Sec-WebSocket-Extensions: "+value+"\r\n")
	}
	agreed := "permessage-deflate; server_no_context_takeover"
	wrong := []Case{
		chosen(agreed + "; unknown"), chosen(agreed + "; client_max_window_bits"),
		chosen(agreed + "; client_max_window_bits=16"), chosen(agreed + "; client_max_window_bits=7"),
		chosen(agreed + "; server_max_window_bits=16"), chosen(agreed + "; server_max_window_bits=08"),
		chosen(agreed + "; server_max_window_bits"), chosen(agreed + "; server_no_context_takeover"),
		chosen("permessage-deflate; server_no_context_takeover=1"), chosen(agreed + "; client_no_context_takeover=0"),
		chosen(agreed + ", " + agreed), chosen("permessage-deflate"),
	}
	for i := range wrong {
		wrong[i].Needs = []Feature{Deflate}
	}
	return []Rule{{
		ID: "client-extension", Section: "RFC 6455 §9.1", Text: "a client fails if an extension was not offered",
		Cases: []Case{
			chosen("x-unknown"), chosen("permessage-deflate"), chosen("x-webkit-deflate-frame"), chosen("permessage-deflate;"),
		},
	}, {
		ID: "client-deflate-answer", Section: "RFC 7692 §7.1",
		Text:  "a client that offered server_no_context_takeover fails if an answer of permessage-deflate is invalid",
		Cases: wrong,
	}}
}

// breaks returns a case in which frames must make the client fail the connection.
func breaks(name string, frames []byte, codes ...int) Case {
	return Case{Name: name, Peer: &Peer{Send: frames, Codes: codes}}
}

// clientFrameRules are about single frames. RFC 6455 §5.
func clientFrameRules() []Rule {
	var opcodes []Case
	for _, op := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		opcodes = append(opcodes, breaks(fmt.Sprint(op), unmasked(fin|op, ""), 1002))
	}
	var codes []Case
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		frame := unmasked(fin|opClose, string([]byte{byte(code >> 8), byte(code)}))
		codes = append(codes, breaks(fmt.Sprint(code), frame, 1002))
	}
	codes = append(codes, breaks("one byte", unmasked(fin|opClose, "\x03"), 1002),
		breaks("reason that is not UTF-8", unmasked(fin|opClose, "\x03\xe8\xff"), 1007, 1002))
	return []Rule{{
		ID: "client-masks", Section: "RFC 6455 §5.3", Text: "a client masks every frame, each with a new key",
		Cases: []Case{{Name: "three pings", Peer: &Peer{Send: unmasked(fin|opPing, "1"), Pings: 3}}},
	}, {
		ID: "client-masked-frame", Section: "RFC 6455 §5.1", Text: "a client fails if a frame of the server is masked",
		Cases: []Case{
			breaks("text", text("a"), 1002), breaks("ping", ping("a"), 1002), breaks("close", closing(1000, ""), 1002),
		},
	}, {
		ID: "client-rsv", Section: "RFC 6455 §5.2", Text: "a client fails if a reserved bit is set that no extension uses",
		Cases: []Case{
			breaks("rsv1", unmasked(fin|rsv1|opText, "a"), 1002), breaks("rsv2", unmasked(fin|rsv2|opText, "a"), 1002),
			breaks("rsv3", unmasked(fin|rsv3|opText, "a"), 1002), breaks("rsv1 on a ping", unmasked(fin|rsv1|opPing, ""), 1002),
		},
	}, {
		ID: "client-opcode", Section: "RFC 6455 §5.2", Text: "a client fails if an opcode is reserved", Cases: opcodes,
	}, {
		ID: "client-length", Section: "RFC 6455 §5.2", Text: "a client fails if a length is not in its shortest form",
		Cases: []Case{
			breaks("16 bits", append([]byte{fin | opText, 126, 0, 1}, 'a'), 1002),
			breaks("64 bits", append([]byte{fin | opText, 127, 0, 0, 0, 0, 0, 0, 0, 1}, 'a'), 1002),
			breaks("highest bit", []byte{fin | opText, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1002),
		},
	}, {
		ID: "client-control", Section: "RFC 6455 §5.5", Text: "a client fails if a control frame is long or a fragment",
		Cases: []Case{
			breaks("ping of 126 bytes", unmasked(fin|opPing, strings.Repeat("a", 126)), 1002),
			breaks("fragment of a ping", unmasked(opPing, "a"), 1002),
			breaks("fragment of a close frame", unmasked(opClose, ""), 1002),
		},
	}, {
		ID: "client-close-code", Section: "RFC 6455 §7.4", Text: "a client fails if a close frame is invalid", Cases: codes,
	}}
}

// clientMessageRules are about messages. RFC 6455 §5.4, §7, §8.1, RFC 7692 §7.2.
func clientMessageRules() []Rule {
	data := func(c Case) Case {
		c.Needs, c.Peer.Fields = []Feature{Deflate}, peerDeflate
		return c
	}
	return []Rule{{
		ID: "client-fragments", Section: "RFC 6455 §5.4", Text: "a client fails if fragments are out of order",
		Cases: []Case{
			breaks("continuation of nothing", unmasked(fin, "a"), 1002),
			breaks("message within a message", join(unmasked(opText, "a"), unmasked(fin|opText, "b")), 1002),
		},
	}, {
		ID: "client-utf8", Section: "RFC 6455 §8.1", Text: "a client fails if a text is not valid UTF-8",
		Cases: []Case{
			breaks("byte that never occurs", unmasked(fin|opText, "a\xff"), 1007),
			breaks("surrogate", unmasked(fin|opText, "\xed\xa0\x80"), 1007),
			breaks("incomplete character", unmasked(fin|opText, "\xe2\x82"), 1007),
			breaks("in fragments", join(unmasked(opText, "\xe2"), unmasked(fin, "a")), 1007),
		},
	}, {
		ID: "client-close", Section: "RFC 6455 §5.5.1", Text: "a client answers a close frame with one",
		Cases: []Case{
			breaks("1000", unmasked(fin|opClose, "\x03\xe8"), 1000),
			breaks("1001 with a reason", unmasked(fin|opClose, "\x03\xe9bye"), 1001, 1000),
		},
	}, {
		ID: "client-deflate", Section: "RFC 7692 §7.2.2",
		Text: "a client reads compressed messages and fails if they are invalid",
		Cases: []Case{
			data(Case{Name: "the example of §7.2.3.1", Peer: &Peer{
				Send: unmasked(fin|rsv1|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00"),
			}}),
			data(Case{Name: "in fragments", Peer: &Peer{
				Send: join(unmasked(rsv1|opText, "\xf2\x48\xcd"), unmasked(fin, "\xc9\xc9\x07\x00")),
			}}),
			data(breaks("reserved block type", unmasked(fin|rsv1|opBinary, "\xff\xff"), 1007, 1002)),
			data(breaks("a reference to an earlier message", unmasked(fin|rsv1|opText, "\xf2\x00\x11\x00\x00"), 1007, 1002)),
			data(breaks("rsv1 on a continuation", join(unmasked(rsv1|opText, "\xf2"), unmasked(fin|rsv1, "\x48")), 1002)),
			data(breaks("rsv1 on a ping", unmasked(fin|rsv1|opPing, ""), 1002)),
			data(breaks("rsv2", unmasked(fin|rsv2|opText, "a"), 1002)),
		},
	}}
}
