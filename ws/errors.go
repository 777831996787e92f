package ws

// ProtocolError is a violation of the protocol by the peer, with the code and the reason to close the connection with.
// RFC 6455 §7.1.7.
type ProtocolError struct {
	Code   CloseCode
	Reason string // at most MaxReason bytes
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "ws: " + e.Reason }

// The rules of RFC 6455 that a peer can break once the connection is open.
var (
	errReservedBits   = &ProtocolError{CloseProtocolError, "reserved bit is set"}                            // §5.2
	errReservedOpcode = &ProtocolError{CloseProtocolError, "reserved opcode"}                                // §5.2
	errLengthForm     = &ProtocolError{CloseProtocolError, "payload length is not in its shortest form"}     // §5.2
	errLengthBit      = &ProtocolError{CloseProtocolError, "payload length has its top bit set"}             // §5.2
	errNotMasked      = &ProtocolError{CloseProtocolError, "client frame is not masked"}                     // §5.1
	errMasked         = &ProtocolError{CloseProtocolError, "server frame is masked"}                         // §5.1
	errControlParts   = &ProtocolError{CloseProtocolError, "control frame is fragmented"}                    // §5.5
	errControlLength  = &ProtocolError{CloseProtocolError, "control frame is longer than 125 bytes"}         // §5.5
	errNoStart        = &ProtocolError{CloseProtocolError, "continuation frame without a message"}           // §5.4
	errNotFinished    = &ProtocolError{CloseProtocolError, "new message before the end of a fragmented one"} // §5.4
	errText           = &ProtocolError{CloseInvalidPayload, "text is not valid UTF-8"}                       // §8.1
	errTooBig         = &ProtocolError{CloseMessageTooBig, "message is too big"}                             // §7.4.1
	errFragments      = &ProtocolError{ClosePolicyViolation, "too many fragments"}                           // §10.4
	errCloseLength    = &ProtocolError{CloseProtocolError, "close frame has a payload of one byte"}          // §5.5.1
	errCloseCode      = &ProtocolError{CloseProtocolError, "close code must not be sent"}                    // §7.4
	errCloseText      = &ProtocolError{CloseInvalidPayload, "close reason is not valid UTF-8"}               // §5.5.1
)
