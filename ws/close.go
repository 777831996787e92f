package ws

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// CloseCode is the reason why a connection ends, as a number. RFC 6455 §7.4.
type CloseCode uint16

// The registered codes. CloseNoStatus, CloseAbnormal and CloseTLSHandshake are for reports; they never appear on the
// wire.
const (
	CloseNormal             CloseCode = 1000
	CloseGoingAway          CloseCode = 1001
	CloseProtocolError      CloseCode = 1002
	CloseUnsupportedData    CloseCode = 1003
	CloseNoStatus           CloseCode = 1005
	CloseAbnormal           CloseCode = 1006
	CloseInvalidPayload     CloseCode = 1007
	ClosePolicyViolation    CloseCode = 1008
	CloseMessageTooBig      CloseCode = 1009
	CloseMandatoryExtension CloseCode = 1010
	CloseInternalError      CloseCode = 1011
	CloseServiceRestart     CloseCode = 1012
	CloseTryAgainLater      CloseCode = 1013
	CloseBadGateway         CloseCode = 1014
	CloseTLSHandshake       CloseCode = 1015
)

// MaxReason is the maximum length of the reason of a close frame in bytes: the maximum payload of a control frame
// without the code. RFC 6455 §5.5.
const MaxReason = maxControl - 2

// Errors of CheckClose and AppendClose.
var (
	// ErrCloseCode means that the code must not appear in a close frame.
	ErrCloseCode = errors.New("ws: close code must not be sent")
	// ErrCloseReason means that the reason is longer than MaxReason, is not valid UTF-8, or has no code.
	ErrCloseReason = errors.New("ws: close reason must not be sent")
)

// Valid reports whether c may appear in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999. RFC 6455 §7.4.
func (c CloseCode) Valid() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
		return true
	default:
		return false
	}
}

// CheckClose reports an error if a close frame must not carry code and reason. A code of 0 or CloseNoStatus means a
// frame without either.
func CheckClose(code CloseCode, reason string) error {
	if code == 0 || code == CloseNoStatus {
		if reason != "" {
			return ErrCloseReason
		}
		return nil
	}
	if !code.Valid() {
		return ErrCloseCode
	}
	if len(reason) > MaxReason || !utf8.ValidString(reason) {
		return ErrCloseReason
	}
	return nil
}

// AppendClose appends the close frame of a server to dst. With a code of 0 or CloseNoStatus, the frame is empty. RFC
// 6455 §5.5.1.
func AppendClose(dst []byte, code CloseCode, reason string) ([]byte, error) {
	if err := CheckClose(code, reason); err != nil {
		return dst, err
	}
	dst = AppendHeader(dst, Header{Fin: true, Opcode: OpClose, Length: closeLen(code, reason)})
	return appendClosePayload(dst, code, reason), nil
}

// AppendMaskedClose appends the close frame of a client to dst, masked with key.
func AppendMaskedClose(dst []byte, key uint32, code CloseCode, reason string) ([]byte, error) {
	if err := CheckClose(code, reason); err != nil {
		return dst, err
	}
	dst = AppendHeader(dst, Header{Fin: true, Opcode: OpClose, Masked: true, Key: key, Length: closeLen(code, reason)})
	at := len(dst)
	dst = appendClosePayload(dst, code, reason)
	Mask(dst[at:], key, 0)
	return dst, nil
}

func closeLen(code CloseCode, reason string) uint64 {
	if code == 0 || code == CloseNoStatus {
		return 0
	}
	return uint64(2 + len(reason))
}

func appendClosePayload(dst []byte, code CloseCode, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return dst
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

// parseClose parses the payload of a close frame.
func parseClose(b []byte) (code CloseCode, reason []byte, err *ProtocolError) {
	switch {
	case len(b) == 0:
		return CloseNoStatus, nil, nil
	case len(b) == 1:
		return 0, nil, errCloseLength
	}
	code, reason = CloseCode(binary.BigEndian.Uint16(b)), b[2:]
	if !code.Valid() {
		return 0, nil, errCloseCode
	}
	if !utf8.Valid(reason) {
		return 0, nil, errCloseText
	}
	return code, reason, nil
}
