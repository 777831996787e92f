package tlsrecord

import (
	"errors"
	"fmt"
)

// Alert is the description of an alert. RFC 8446 §6.
type Alert uint8

// Alerts that a record layer sends or understands.
const (
	CloseNotify       Alert = 0
	UnexpectedMessage Alert = 10
	BadRecordMAC      Alert = 20
	RecordOverflow    Alert = 22
	IllegalParameter  Alert = 47
	DecodeError       Alert = 50
	InternalError     Alert = 80
	userCanceled      Alert = 90
)

// Error is a violation of the protocol by the peer.
type Error struct {
	// Alert is what the peer has to get before the connection ends.
	Alert  Alert
	reason string
}

// Error returns the reason.
func (e Error) Error() string { return "tlsrecord: " + e.reason }

// PeerError is an alert of the peer, which has ended the connection.
type PeerError struct{ Alert Alert }

// Error names the alert.
func (e PeerError) Error() string {
	return fmt.Sprintf("tlsrecord: the peer has sent alert %d", e.Alert)
}

// errClosed reports use after the end.
var errClosed = errors.New("tlsrecord: closed")
