package registry

import (
	"errors"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
)

// Close codes of orders.
const (
	// CodeRevoked is the close code of connections whose token expired or was revoked.
	CodeRevoked = 4401
	// CodeKicked is the close code of connections that were kicked.
	CodeKicked = 4403
)

// RevokedReason is the close reason of revoked connections.
const RevokedReason = "revoked"

// KindConnection is the Kind of an order that names one connection. The other kinds are those of denylist.Kind.
const KindConnection = "conn"

// maxReason is the longest close reason in bytes. RFC 6455 §5.5.
const maxReason = 123

// ErrReason reports a close reason that does not fit into a close frame.
var ErrReason = errors.New("a close reason is valid UTF-8 of at most 123 bytes")

// Order tells every worker to close connections and, until a time, to admit no client like them. It is written as JSON;
// fields may be added.
type Order struct {
	Kind   string    `json:"kind"` // user, session, token or conn
	Value  string    `json:"value"`
	Except connid.ID `json:"except,omitzero"` // a connection that stays
	Until  time.Time `json:"until,omitzero"`  // zero denies nothing
	Code   uint16    `json:"code"`
	Reason string    `json:"reason"`
	Node   string    `json:"node,omitempty"` // the machine that published it
	Said   int64     `json:"said,omitempty"` // when, in ns: two equal orders differ in it
}

// Denial returns the entry of the deny list that the order asks for, if it does.
func (o *Order) Denial() (denylist.Entry, bool) {
	d := denylist.Entry{Kind: denylist.Kind(o.Kind), Value: o.Value, Until: o.Until}
	return d, o.Kind != KindConnection && !o.Until.IsZero()
}

// Command is an order that App methods or operators give.
type Command struct {
	Order Order `json:"order"`
	Drop  bool  `json:"drop"` // delete the sessions, too
}

// Done is the result of a Command on this machine.
type Done struct {
	Closed  int    `json:"closed"`
	Stored  bool   `json:"stored"`  // other machines know of it, or there are none
	Warning string `json:"warning"` // why not; empty if all is well
}

// obeyed is a worker's answer to an order.
type obeyed struct {
	Closed int `json:"closed"`
}
