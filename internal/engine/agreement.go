package engine

import "github.com/expedite-go/expedite/ws/deflate"

// agreement is what a connection and its peer have agreed on about permessage-deflate, in the 16 bits that every
// connection has for it. 0 means no compression. It is set before the connection opens and never changes.
type agreement uint16

// agreedOn is set in every agreement. The lower 8 bits are deflate.Params.Pack.
const agreedOn agreement = 1 << 8

// agree returns the agreement for negotiated parameters.
func agree(p deflate.Params) agreement { return agreedOn | agreement(p.Pack()) }

func (a agreement) params() deflate.Params { return deflate.Unpack(uint8(a)) }

// bits returns the base-2 logarithm of the window in which our messages must fit.
func (a agreement) bits() uint8 { return a.params().ServerMaxWindowBits }

// sendsLinked reports whether our messages may refer to earlier ones.
func (a agreement) sendsLinked() bool { return a != 0 && !a.params().ServerNoContextTakeover }

// receivesLinked reports whether messages of the peer may refer to earlier ones.
func (a agreement) receivesLinked() bool { return a != 0 && !a.params().ClientNoContextTakeover }

// sentWindow is the number of bytes of sent messages that are kept for later ones to refer to. See docs/decisions/0017.
const sentWindow = 8 << 10

// sentSize and receivedSize return how many bytes of the messages of each direction are kept.
func (a agreement) sentSize() int     { return min(sentWindow, 1<<a.params().ServerMaxWindowBits) }
func (a agreement) receivedSize() int { return 1 << a.params().ClientMaxWindowBits }
