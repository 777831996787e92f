package expedite

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/expedite-go/expedite/ws"
)

// Message is one WebSocket message: text or binary. The zero Message is an empty binary one.
type Message struct {
	kind  messageKind
	plain bool // not to be compressed
	data  []byte
}

// messageKind is the type of a message. Text is validated once, when the message is made, so that sending it again, or
// sending what was received, costs nothing.
type messageKind uint8

const (
	kindBinary messageKind = iota
	kindText
	kindNoText // text that is not UTF-8: a client that receives it must fail the connection. RFC 6455 §8.1
)

// Text returns a text message. If s is not valid UTF-8, no method sends it: they fail with ErrText, and Conn.Send
// returns Invalid.
func Text(s string) Message {
	m := Message{kind: kindText, data: []byte(s)}
	if !utf8.ValidString(s) {
		m.kind = kindNoText
	}
	return m
}

// TextBytes is like Text for b, which must not change while the message is in use.
func TextBytes(b []byte) Message {
	if !utf8.Valid(b) {
		return Message{kind: kindNoText, data: b}
	}
	return Message{kind: kindText, data: b}
}

// Binary returns a binary message of b, which must not change while the message is in use.
func Binary(b []byte) Message { return Message{data: b} }

// JSON returns a text message with the JSON encoding of v.
func JSON(v any) (Message, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Message{}, fmt.Errorf("expedite: %w", err)
	}
	return Message{kind: kindText, data: b}, nil
}

// IsText reports whether m is text. In a Message callback that is valid UTF-8.
func (m Message) IsText() bool { return m.kind != kindBinary }

// Bytes returns the payload. In a Message callback it is valid until the callback returns.
func (m Message) Bytes() []byte { return m.data }

// String returns a copy of the payload.
func (m Message) String() string { return string(m.data) }

// Decode decodes the payload, which must be one JSON value and nothing else, into v, which must be a pointer: see
// json.Unmarshal. Fields that v does not have are ignored, so that clients may be newer than the server. The message
// may be text or binary.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.data, v); err != nil {
		return fmt.Errorf("expedite: message: %w", err)
	}
	return nil
}

// Clone returns a copy of m that may be kept.
func (m Message) Clone() Message {
	m.data = append([]byte(nil), m.data...)
	return m
}

func (m Message) opcode() ws.Opcode {
	if m.kind == kindBinary {
		return ws.OpBinary
	}
	return ws.OpText
}

// messageOf returns a message that was received. Package ws has validated text.
func messageOf(op ws.Opcode, data []byte) Message {
	if op == ws.OpText {
		return Message{kind: kindText, data: data}
	}
	return Message{data: data}
}
