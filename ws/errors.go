package ws

// ProtocolError is a rule that the peer has broken: what to close the connection with. RFC 6455 §7.1.7.
type ProtocolError struct {
	Code   CloseCode
	Reason string // at most MaxReason bytes
}

// Error describes the broken rule.
func (e *ProtocolError) Error() string { return "ws: " + e.Reason }

// The rules that a peer can break once the connection is open.
var (
	errReservedBits   = &ProtocolError{CloseProtocolError, "reserved bit set"}                    // RFC 6455 §5.2
	errReservedOpcode = &ProtocolError{CloseProtocolError, "reserved opcode"}                     // §5.2
	errLengthForm     = &ProtocolError{CloseProtocolError, "length not in its shortest form"}     // §5.2
	errLengthBit      = &ProtocolError{CloseProtocolError, "length with its top bit set"}         // §5.2
	errNotMasked      = &ProtocolError{CloseProtocolError, "frame of a client not masked"}        // §5.1
	errMasked         = &ProtocolError{CloseProtocolError, "frame of a server masked"}            // §5.1
	errControlParts   = &ProtocolError{CloseProtocolError, "control frame in fragments"}          // §5.5
	errControlLength  = &ProtocolError{CloseProtocolError, "control frame over 125 bytes"}        // §5.5
	errNoStart        = &ProtocolError{CloseProtocolError, "continuation of no message"}          // §5.4
	errNotFinished    = &ProtocolError{CloseProtocolError, "message inside a fragmented message"} // §5.4
	errText           = &ProtocolError{CloseInvalidPayload, "text is no valid UTF-8"}             // §8.1
	errTooBig         = &ProtocolError{CloseMessageTooBig, "message too big"}                     // §7.4.1
	errFragments      = &ProtocolError{ClosePolicyViolation, "too many fragments"}                // §10.4
	errCloseLength    = &ProtocolError{CloseProtocolError, "close frame of one byte"}             // §5.5.1
	errCloseCode      = &ProtocolError{CloseProtocolError, "close code may not be sent"}          // §7.4
	errCloseText      = &ProtocolError{CloseInvalidPayload, "close reason is no valid UTF-8"}     // §5.5.1
)
