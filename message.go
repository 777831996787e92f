package expedite

import (
	"encoding/json"
	"fmt"

	"github.com/expedite-go/expedite/ws"
)

// Message is one WebSocket message: text or binary. The zero Message is an empty binary one.
type Message struct {
	text bool
	data []byte
}

// Text makes a text message. The string must be valid UTF-8.
func Text(s string) Message { return Message{text: true, data: []byte(s)} }

// TextBytes makes a text message of b, which must be valid UTF-8 and must not change while the message is in use.
func TextBytes(b []byte) Message { return Message{text: true, data: b} }

// Binary makes a binary message of b, which must not change while the message is in use.
func Binary(b []byte) Message { return Message{data: b} }

// JSON makes a text message that holds v as JSON.
func JSON(v any) (Message, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Message{}, fmt.Errorf("expedite: %w", err)
	}
	return TextBytes(b), nil
}

// IsText says whether m is text, which is valid UTF-8.
func (m Message) IsText() bool { return m.text }

// Bytes is the payload. In a Message callback it is valid until the callback returns; copy what is kept.
func (m Message) Bytes() []byte { return m.data }

// String is a copy of the payload.
func (m Message) String() string { return string(m.data) }

// Clone is a copy of m that may be kept.
func (m Message) Clone() Message { return Message{text: m.text, data: append([]byte(nil), m.data...)} }

func (m Message) opcode() ws.Opcode {
	if m.text {
		return ws.OpText
	}
	return ws.OpBinary
}

func messageOf(op ws.Opcode, data []byte) Message { return Message{text: op == ws.OpText, data: data} }
