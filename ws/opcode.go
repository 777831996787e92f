package ws

import "strconv"

// Role is the side of a connection that a Reader belongs to. The zero Role is Server.
type Role uint8

// The two roles. A server wants frames from its peer to be masked, a client wants them not to be. RFC 6455 §5.1.
const (
	Server Role = iota
	Client
)

// Opcode tells what a frame carries. RFC 6455 §5.2.
type Opcode uint8

// The opcodes; the others are reserved.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xa
)

// IsControl says whether o is one of the control opcodes, reserved ones included. RFC 6455 §5.5.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// known says whether o is not reserved.
func (o Opcode) known() bool { return o <= OpBinary || (o >= OpClose && o <= OpPong) }

// String is the opcode's name in the RFC.
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
