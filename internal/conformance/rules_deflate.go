package conformance

import (
	"fmt"
	"strings"
	"sync"
)

// offers returns the field of an offer.
func offers(v string) string { return "Sec-WebSocket-Extensions: " + v + "\r\n" }

// accepted is a handshake whose offer must be accepted.
func accepted(name, offer string) Case {
	return Case{
		Name: name, Needs: []Feature{Deflate}, Fields: offer,
		Script: func(a Agreed) ([]byte, []Event) {
			if !a.On {
				return text("?"), []Event{wantText("permessage-deflate is accepted")}
			}
			var d deflater
			return compressed(opText, d.message("accepted", a)), []Event{wantText("accepted")}
		},
	}
}

// negotiationRules are about offers of permessage-deflate. RFC 7692 §5, §7.1.
func negotiationRules() []Rule {
	needs := []Feature{Deflate}
	declined := Rule{
		ID: "deflate-declined", Section: "RFC 7692 §7.1",
		Text: "an offer with an unknown, repeated or invalid parameter is declined",
	}
	for _, v := range []string{
		"; unknown", "; server_no_context_takeover=1", "; client_no_context_takeover=true",
		"; server_no_context_takeover; server_no_context_takeover",
		"; client_max_window_bits; client_max_window_bits=10", "; server_max_window_bits=10; server_max_window_bits=10",
		"; server_max_window_bits", "; server_max_window_bits=7", "; server_max_window_bits=16",
		"; server_max_window_bits=08",
		"; server_max_window_bits=010", "; server_max_window_bits=0", "; server_max_window_bits=-8",
		"; server_max_window_bits=15.0",
		"; server_max_window_bits=abc", "; server_max_window_bits=100", "; client_max_window_bits=7",
		"; client_max_window_bits=16",
		"; client_max_window_bits=09", "; client_max_window_bits=x", "; client_max_window_bits=+9",
	} {
		declined.Cases = append(declined.Cases, Case{
			Name: v[2:], Needs: needs, Fields: offers("permessage-deflate" + v),
			Answers: []Answer{{Status: []int{101}, Check: func(r *Response) error {
				if got := r.Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
					return broke("it answered %q (RFC 7692 §7.1)", got)
				}
				return nil
			}}},
			Send: text("a"), Want: []Event{wantText("a")},
		})
	}
	return []Rule{declined, {
		ID: "deflate-next-offer", Section: "RFC 7692 §5", Level: Should,
		Text: "when an offer is declined, the next one is considered",
		Cases: []Case{
			accepted("after an unknown extension", offers("x-unknown, permessage-deflate")),
			accepted("after an invalid offer", offers("permessage-deflate; server_max_window_bits=7, permessage-deflate")),
			accepted(
				"after an unknown parameter",
				offers("permessage-deflate; x=1, permessage-deflate; server_max_window_bits=10"),
			),
			accepted("in the second field", offers("x-unknown")+offers("permessage-deflate")),
			accepted("the first of two", offers("permessage-deflate; client_max_window_bits, permessage-deflate")),
		},
	}, {
		ID: "deflate-accepted", Section: "RFC 7692 §7.1", Level: Should,
		Text: "a valid offer is accepted, with an answer that it allows",
		Cases: []Case{
			accepted("no parameters", offers("permessage-deflate")),
			accepted("that of Chromium", offers("permessage-deflate; client_max_window_bits")),
			accepted("all parameters", offers("permessage-deflate; server_no_context_takeover; client_no_context_takeover; "+
				"server_max_window_bits=12; client_max_window_bits=11")),
			accepted("quoted value", offers(`permessage-deflate; server_max_window_bits="12"`)),
			accepted("white space", offers("permessage-deflate ;\tserver_max_window_bits = 12 ; client_max_window_bits")),
			accepted("no white space", offers("permessage-deflate;server_max_window_bits=12;client_max_window_bits")),
		},
	}, {
		ID: "deflate-not-offered", Section: "RFC 6455 §4.2.2", Text: "no extension is used that the client has not offered",
		Cases: []Case{{
			Name: "no offer", Send: text(strings.Repeat("a", 4096)),
			Want: []Event{wantText(strings.Repeat("a", 4096))},
		}},
	}}
}

// hello is the message Hello, as RFC 7692 §7.2.3.1 compresses it.
const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"

const plainOffer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

// under returns cases that send frames with permessage-deflate on.
func under(name string, send []byte, want ...Event) Case {
	return Case{
		Name: name, Needs: []Feature{Deflate}, Fields: plainOffer,
		Script: func(Agreed) ([]byte, []Event) { return send, want },
	}
}

// compressionRules are about compressed messages. RFC 7692 §6, §7.2.
func compressionRules() []Rule {
	long := strings.Repeat("permessage-deflate 0123456789 ", 3000)
	return []Rule{{
		ID: "deflate-examples", Section: "RFC 7692 §7.2.3", Text: "the examples of the RFC are decompressed",
		Cases: []Case{
			under("one block", compressed(opText, hello), wantText("Hello")),
			under("in two fragments", compressedIn(opText, hello[:3], hello[3:]), wantText("Hello")),
			{
				Name: "shared window", Needs: []Feature{Deflate}, Fields: plainOffer, Script: func(a Agreed) ([]byte, []Event) {
					second := "\xf2\x00\x11\x00\x00"
					if a.ClientNoTakeover {
						second = hello
					}
					return join(compressed(opText, hello), compressed(opText, second)), []Event{wantText("Hello"), wantText("Hello")}
				},
			},
			under("stored block", compressed(opText, "\x00\x05\x00\xfa\xffHello\x00"), wantText("Hello")),
			under("final block", compressed(opText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), wantText("Hello")),
			under("two blocks", compressed(opText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), wantText("Hello")),
			under("empty message", compressed(opText, "\x00"), wantText("")),
			under("empty message of a fixed block", compressed(opBinary, "\x02\x00"), wantBinary("")),
		},
	}, {
		ID: "deflate-messages", Section: "RFC 7692 §6.2",
		Text: "compressed messages are decompressed, whatever their blocks and fragments",
		Cases: []Case{
			under("dynamic codes", compressed(opText, standard(long)), wantText(long)),
			under("stored blocks", compressed(opBinary, stored(long)), wantBinary(long)),
			under("uncompressed message", text("plain"), wantText("plain")),
			under("uncompressed between compressed ones", join(compressed(opText, hello), text("plain"), compressed(opText,
				hello)),
				wantText("Hello"), wantText("plain"), wantText("Hello")),
			under("a fragment for each byte", compressedIn(opText, pieces(hello, 1)...), wantText("Hello")),
			under("empty fragments", compressedIn(opText, "", hello, ""), wantText("Hello")),
			under("ping between fragments", join(frame(rsv1|opText, hello[:2]), ping("p"), frame(fin, hello[2:])),
				wantPong("p"), wantText("Hello")),
			under("character across blocks", compressed(opText, newBlock(false).literals("\xe2\x82").finish()+"\x00\x00\xff\xff"+
				newBlock(false).literals("\xac").finish()), wantText("€")),
			under(
				"longest match", compressed(opText, newBlock(false).literals("a").match(258, 1).finish()),
				wantText(strings.Repeat("a", 259)),
			),
			under("final block, then more blocks", compressed(opText, newBlock(true).literals("He").end().bytes()+
				newBlock(false).literals("llo").finish()), wantText("Hello")),
		},
	}}
}

// misuseRules are about compressed messages that break a rule. RFC 7692 §6.
func misuseRules() []Rule {
	return []Rule{{
		ID: "deflate-rsv1", Section: "RFC 7692 §6.1", Text: "RSV1 stands on the first frame of a message only",
		Cases: []Case{
			under("continuation", join(frame(rsv1|opText, hello[:3]), frame(fin|rsv1, hello[3:])), fails(1002)...),
			under("continuation of an uncompressed message", join(frame(opText, "a"), frame(fin|rsv1, hello)), fails(1002)...),
			under("ping", frame(fin|rsv1|opPing, ""), fails(1002)...),
			under("pong", frame(fin|rsv1|opPong, ""), fails(1002)...),
			under("close frame", frame(fin|rsv1|opClose, ""), fails(1002)...),
			under("RSV1 and RSV2", frame(fin|rsv1|rsv2|opText, hello), fails(1002)...),
			under("RSV1 and RSV3", frame(fin|rsv1|rsv3|opText, hello), fails(1002)...),
			under("RSV2", frame(fin|rsv2|opText, "a"), fails(1002)...),
		},
	}, {
		ID: "deflate-text", Section: "RFC 6455 §8.1", Text: "a compressed text message is UTF-8",
		Cases: []Case{
			under("invalid byte", compressed(opText, newBlock(false).literals("a\xff").finish()), fails(1007)...),
			under("incomplete character", compressed(opText, newBlock(false).literals("a\xe2\x82").finish()), fails(1007)...),
			under("surrogate", compressed(opText, stored("\xed\xa0\x80")), fails(1007)...),
			under("across fragments", compressedIn(opText, pieces(stored("a\xe2\x28"), 4)...), fails(1007)...),
			under("a binary message may be anything", compressed(opBinary, stored("\xff\xfe")), wantBinary("\xff\xfe")),
		},
	}, {
		ID: "deflate-invalid", Section: "RFC 7692 §6.2", Text: "data that is not DEFLATE fails the connection",
		Cases: invalidDeflate(),
	}, {
		ID: "deflate-size", Section: "RFC 6455 §10.4", Level: Should,
		Text:  "the limit for messages counts decompressed bytes, while they are decompressed",
		Cases: bombs(),
	}}
}

func invalidDeflate() []Case {
	broken := func(name, payload string) Case {
		return under(name, compressed(opBinary, payload), fails(1007, 1002)...)
	}
	return []Case{
		broken("reserved block type", "\x07\x00"),
		broken("stored length without its complement", "\x00\x05\x00\x00\x00Hello\x00"),
		broken("distance to before the message", newBlock(false).match(3, 1).finish()),
		broken("distance beyond the message", newBlock(false).literals("abc").match(3, 4).finish()),
		broken("length symbol 286", func() string { w := newBlock(false); w.symbol(286); w.bits(0, 5); return w.finish() }()),
		broken("length symbol 287", func() string { w := newBlock(false); w.symbol(287); w.bits(0, 5); return w.finish() }()),
		broken(
			"distance symbol 30",
			func() string { w := newBlock(false).literals("abc"); w.symbol(257); w.code(30, 5); return w.finish() }(),
		),
		broken("code lengths that make no code", "\x04\xc0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		broken("too many length codes", func() string {
			w := &block{}
			w.begin(false, 2)
			w.bits(31, 5)
			w.bits(31, 5)
			w.bits(0, 14)
			return w.bytes()
		}()),
		under(
			"error in a second fragment", compressedIn(opBinary, "\xf2\x48", "\xcd\xc9\xc9\x07\x00\x07"),
			fails(1007, 1002)...,
		),
		broken("block that does not end", newBlock(false).literals("abc").bytes()[:3]),
		broken("stored block that does not end", "\x00\x10\x00\xef\xffabc"),
	}
}

// bombs are small messages that decompress to more than LargestMessage.
func bombs() []Case {
	needs := []Feature{Deflate, Limited}
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	flat := standard(zeros(LargestMessage + 1))
	nested := newBlock(false).literals("\x00")
	for range LargestMessage/258 + 1 {
		nested.match(258, 1)
	}
	fixed := nested.finish()
	c := func(name string, send []byte) Case {
		return Case{Name: name, Needs: needs, Fields: plainOffer, Script: func(Agreed) ([]byte, []Event) {
			return send,
				fails(1009)
		}}
	}
	half := standard(zeros(LargestMessage/2 + 1))
	return []Case{
		c("dynamic codes", compressed(opBinary, flat)),
		c("fixed codes", compressed(opBinary, fixed)),
		c("in fragments", compressedIn(opBinary, pieces(flat, 1000)...)),
		c("two blocks", compressed(opBinary, half+"\x00\x00\xff\xff"+half)),
		{
			Name: "the limit itself", Needs: needs, Fields: plainOffer, Script: func(Agreed) ([]byte, []Event) {
				s := zeros(LargestMessage)
				return compressed(opBinary, standard(s)), []Event{wantBinary(s)}
			},
		},
	}
}

// windowRules send messages with every combination of parameters. RFC 7692 §7.1.
func windowRules() []Rule {
	r := Rule{
		ID: "deflate-parameters", Section: "RFC 7692 §7.1",
		Text: "with every combination of parameters, both sides keep to the window and the context takeover that were agreed",
	}
	messages := &scripts{}
	for server := 8; server <= 15; server++ {
		for client := 8; client <= 15; client++ {
			for takeover := range 4 {
				offer := fmt.Sprintf("permessage-deflate; server_max_window_bits=%d; client_max_window_bits=%d", server, client)
				if takeover&1 != 0 {
					offer += "; server_no_context_takeover"
				}
				if takeover&2 != 0 {
					offer += "; client_no_context_takeover"
				}
				r.Cases = append(r.Cases, Case{
					Name: strings.TrimPrefix(offer, "permessage-deflate; "), Needs: []Feature{Deflate},
					Fields: "Sec-WebSocket-Extensions: " + offer + "\r\n", Script: messages.of,
				})
			}
		}
	}
	farthest := Rule{
		ID: "deflate-farthest", Section: "RFC 7692 §7.1.2.2",
		Text: "a distance of the whole window is decompressed",
	}
	forgotten := Rule{
		ID: "deflate-no-takeover", Section: "RFC 7692 §7.1.1.2", Level: Should,
		Text: "after client_no_context_takeover, a distance into an earlier message is an error",
	}
	for bits := 8; bits <= 15; bits++ {
		farthest.Cases = append(farthest.Cases, Case{
			Name:   fmt.Sprintf("%d bits", bits),
			Needs:  []Feature{Deflate},
			Fields: fmt.Sprintf("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=%d\r\n", bits),
			Script: func(a Agreed) ([]byte, []Event) {
				size := 1 << a.ClientBits
				first := "farthest" + strings.Repeat("0123456789", size/10+1)[:size-8]
				payload := stored(first)
				payload = payload[:len(payload)-1] + newBlock(false).match(8, size).finish()
				return compressed(opText, payload), []Event{wantText(first + "farthest")}
			},
		})
	}
	forgotten.Cases = []Case{{
		Name: "second message", Needs: []Feature{Deflate},
		Fields: "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
		Script: func(a Agreed) ([]byte, []Event) {
			if !a.ClientNoTakeover { // it may ignore the hint
				return text("a"), []Event{wantText("a")}
			}
			return join(compressed(opText, newBlock(false).literals("Hello").finish()), compressed(opText,
					newBlock(false).match(5, 5).finish())),
				[]Event{wantText("Hello"), wantClose(1007, 1002)}
		},
	}}
	return []Rule{r, farthest, forgotten}
}

// scripts makes the messages of windowRules: once for each way to compress them.
type scripts struct {
	mu   sync.Mutex
	made map[Agreed]script
}

type script struct {
	send []byte
	want []Event
}

// of returns messages with matches as far as the client's window allows, within a message and between them.
func (s *scripts) of(a Agreed) (send []byte, want []Event) {
	key := Agreed{ClientBits: a.ClientBits, ClientNoTakeover: a.ClientNoTakeover}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.made[key]; ok {
		return made.send, made.want
	}
	var d deflater
	var records strings.Builder
	for i := range 650 { // more than the largest window
		fmt.Fprintf(&records, `{"id":%d,"user":"user-%d","text":"message number %d"}`, i*7919%1000, i%37, i)
	}
	all := records.String()
	near := len(all) - maxWindow
	for _, m := range []string{
		all[:300], all[100:400], all, "", "short", all[:3000], all[near : near+3000],
		all[len(all)-200:],
	} {
		send = append(send, compressed(opText, d.message(m, a))...)
		send = append(send, text(m)...) // an uncompressed message changes no window
		want = append(want, wantText(m), wantText(m))
	}
	if s.made == nil {
		s.made = make(map[Agreed]script)
	}
	s.made[key] = script{send, want}
	return send, want
}

// unseenRules are requirements for a server that its clients cannot observe, or that bind the application.
func unseenRules() []Rule {
	return []Rule{
		{
			ID: "origin", Section: "RFC 6455 §10.2", Level: Should,
			Text:   "a server that is not for every page verifies the Origin",
			Unseen: "it depends on the settings; internal/access has tests",
		},
		{
			ID: "ping-own", Section: "RFC 6455 §5.5.2", Level: Should,
			Text:   "a ping may be sent at any time to find out whether the peer is there",
			Unseen: "it comes after 50 s of silence; internal/engine has tests",
		},
		{
			ID: "deflate-fragmented-output", Section: "RFC 7692 §6.1", Text: "control frames are never compressed",
			Unseen: "the client checks it on every frame of the server",
		},
	}
}
