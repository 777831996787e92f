package ws

import "strconv"

// Role is the side of a connection that a Reader belongs to. The zero Role is Server.
type Role uint8

// The two roles. The frames of a client are masked, those of a server are not. RFC 6455 §5.1.
const (
	Server Role = iota
	Client
)

// Opcode is the type of a frame. RFC 6455 §5.2.
type Opcode uint8

// The opcodes. All others are reserved.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xa
)

// IsControl reports whether o is a control opcode, which includes reserved ones. RFC 6455 §5.5.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// known reports whether o is not reserved.
func (o Opcode) known() bool { return o <= OpBinary || (o >= OpClose && o <= OpPong) }

// String returns the name of the opcode in the RFC.
func (o Opcode) String() string {
	switch o {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	default:
		return "opcode " + strconv.Itoa(int(o))
	}
}
