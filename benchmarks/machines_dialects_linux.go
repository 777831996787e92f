package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/ws"
)

// dialect is what clients of a server say.
type dialect struct {
	path       string
	greet      []exchange // follows the handshake
	begin      func(b []byte, topic int) []byte
	end        string                     // begin and end of a publication
	join       func(topic, n int) string  // subscribes to n topics
	joinOne    func(topic, id int) string // if join is nil: subscribes to one
	joined     string                     // in each answer
	ping, pong string
	own        int // channels that two machines have for themselves; -1: topics have no channels
}

// exchange is what a client says, perhaps nothing, and what the answer contains.
type exchange struct{ say, await string }

// talk is a conversation that blocks.
type talk struct {
	fd   int
	rest []byte
}

// say sends a text, unless it is empty.
func (t *talk) say(text string) error {
	if text == "" {
		return nil
	}
	_, err := unix.Write(t.fd, ws.AppendMaskedFrame(nil, ws.OpText, 1, []byte(text)))
	return err
}

// await reads until text has come n times.
func (t *talk) await(text string, n int) error {
	buf := make([]byte, 64<<10)
	for {
		_, payload, size := cutFrame(t.rest)
		if size > 0 {
			n -= bytes.Count(payload, []byte(text))
			bad := bytes.Contains(payload, []byte(`"error"`))
			said := string(payload[:min(len(payload), 300)])
			t.rest = bytes.Clone(t.rest[size:])
			switch {
			case bad:
				return fmt.Errorf("the server says %s", said)
			case n <= 0:
				return nil
			}
			continue
		}
		got, err := unix.Read(t.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got <= 0 {
			return fmt.Errorf("no answer with %q: %d, %w", text, got, err)
		}
		t.rest = append(t.rest, buf[:got]...)
	}
}

func (t *talk) exchange(e exchange) error {
	if err := t.say(e.say); err != nil {
		return err
	}
	return t.await(e.await, 1)
}

// connect connects a client.
func (d *dialect) connect(addr netip.AddrPort) (*talk, error) {
	fd, err := connect(netip.IPv4Unspecified(), addr)
	if err != nil {
		return nil, err
	}
	t := &talk{fd: fd}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err == nil {
		t.rest, err = upgrade(&wire{fd: fd}, addr, d.path)
	}
	for _, line := range d.greet {
		if err == nil {
			err = t.exchange(line)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return t, nil
}

// subscribe subscribes to n topics.
func (d *dialect) subscribe(t *talk, first, n int) error {
	if d.join != nil {
		return t.exchange(exchange{d.join(first, n), d.joined})
	}
	for i := range n {
		if err := t.say(d.joinOne(first+i, i+2)); err != nil {
			return err
		}
	}
	return t.await(d.joined, n)
}

// publish appends the frame of a publication.
func (d *dialect) publish(dst []byte, topic int, number uint64) []byte {
	b := d.begin(make([]byte, 0, 2*messageLen), topic)
	at := len(b)
	b = append(b, mark)
	b = appendNumber(b, uint64(topic), topicLen)
	b = appendNumber(b, number, numberLen)
	for len(b) < at+messageLen-1 {
		b = append(b, 'x')
	}
	b = append(b, endMark)
	return ws.AppendMaskedFrame(dst, ws.OpText, 0x12345678, append(b, d.end...))
}

// other answers what is not a message.
func (d *dialect) other(op ws.Opcode, payload []byte) ([]byte, error) {
	if op != ws.OpText || bytes.Contains(payload, []byte(`"error"`)) {
		return nil, fmt.Errorf("opcode %v came: %.200q", op, payload)
	}
	if string(payload) == d.ping {
		return []byte(d.pong), nil
	}
	return nil, nil
}

// expediteDialect: a message is published on the topic that it names. own is as in dialect.
func expediteDialect(own int) dialect {
	return dialect{
		path:  "/",
		begin: func(b []byte, _ int) []byte { return b },
		join:  func(topic, n int) string { return fmt.Sprintf("+%d %d", topic, n) }, joined: "ok",
		own: own,
	}
}

// centrifugeDialect is the JSON protocol. If quiet is set, publications are messages that are not answered.
func centrifugeDialect(quiet bool) dialect {
	d := dialect{
		path:  "/",
		greet: []exchange{{`{"id":1,"connect":{}}`, `"connect"`}},
		begin: func(b []byte, topic int) []byte {
			b = append(b, `{"id":2,"publish":{"channel":"`...)
			b = appendNumber(b, uint64(topic), topicLen)
			return append(b, `","data":"`...)
		},
		end: `"}}`,
		joinOne: func(topic, id int) string {
			return fmt.Sprintf(`{"id":%d,"subscribe":{"channel":"%s"}}`, id, topicName(topic))
		},
		joined: `"subscribe"`,
		ping:   "{}", pong: "{}", own: 6,
	}
	if quiet {
		d.begin = func(b []byte, _ int) []byte { return append(b, `{"send":{"data":"`...) }
	}
	return d
}

// socketDialect is the protocol of Socket.IO 4 over a WebSocket from the start.
func socketDialect() dialect {
	return dialect{
		path:    "/socket.io/?EIO=4&transport=websocket",
		greet:   []exchange{{"", `"sid"`}, {"40", `40{"sid"`}},
		begin:   func(b []byte, _ int) []byte { return append(b, `42["p","`...) },
		end:     `"]`,
		joinOne: func(topic, id int) string { return fmt.Sprintf(`42%d["s","%s"]`, id, topicName(topic)) },
		joined:  "[]",
		ping:    "2", pong: "3", own: -1,
	}
}
