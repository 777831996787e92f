package expedite

import (
	"fmt"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/ws/deflate"
)

// Compression decides whether messages are compressed with permessage-deflate (RFC 7692), if the client offers it. The
// page docs/compression.md tells what it costs.
type Compression uint8

// The kinds of compression.
const (
	// CompressionOff accepts no compression.
	CompressionOff Compression = iota
	// CompressionShared compresses each message by itself. All connections share the compressors, so that an idle
	// connection needs no memory for it, and a published message is compressed once for all its receivers.
	CompressionShared
	// CompressionTakeover also lets messages refer to earlier ones of their connection, which makes short messages that
	// resemble each other much shorter. Each connection keeps up to 8 KiB of what it has received, and as much of what it
	// has sent. A published message is compressed once for all its receivers, without reference to earlier messages.
	CompressionTakeover
)

// String returns off, shared or takeover.
func (c Compression) String() string {
	if c > CompressionTakeover {
		return fmt.Sprintf("compression %d", uint8(c))
	}
	return [...]string{"off", "shared", "takeover"}[c]
}

// receivedBits is the base-2 logarithm of how many bytes of a client's messages are kept with CompressionTakeover.
// Clients that cannot limit their window (client_max_window_bits) compress each message by itself.
const receivedBits = 13

// config returns what endpoints negotiate; nil for nothing.
func (c Compression) config() *deflate.Config {
	switch c {
	case CompressionShared:
		return &deflate.Config{}
	case CompressionTakeover:
		return &deflate.Config{Takeover: true, ClientMaxWindowBits: receivedBits}
	default:
		return nil
	}
}

// Plain returns m as a message that is sent uncompressed. Use it for secrets: if a compressed message holds a secret
// together with text that an attacker chooses, its length can betray the secret. Use it also for data that is already
// compressed, such as images.
func (m Message) Plain() Message {
	m.plain = true
	return m
}

// sentOpcode returns what the engine needs to know about m, in an opcode.
func (m Message) sentOpcode() byte {
	op := m.opcode()
	if m.plain {
		op |= engine.Plain
	}
	return byte(op)
}
