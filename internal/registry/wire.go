package registry

import (
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/session"
)

// Operations of the link. Primary and worker may be of different releases: a number never changes its meaning.
const (
	opHello       byte = iota + 1 // from a worker: helloRequest → hello
	opSession                     // from a worker: a request of the memory store → its answer
	opCommand                     // from a worker: Command → Done
	opOrder                       // from the primary: Order → obeyed
	opLive                        // from the primary: LiveRequest → []LiveConn
	opFollow                      // from the primary: subscription → recent lines
	opLines                       // from a worker, a notice: number of the subscription (8), log lines
	opReopen                      // from the primary: continue in new log files
	opGreet                       // from the primary, a notice: it has just begun, and asks the worker to say hello
	opHealth                      // from the primary, a notice: Health
	opPage                        // from a worker: pageRequest → page
	opDenials                     // from the primary: denials of denylist.Append → obeyed
	opCount                       // from the primary: nothing → number of connections with sessions
	opKeys                        // from a worker: auth.Snapshot or nothing → that of the primary
	opStore                       // from the primary: a request of the application's session store → its answer
	opApply                       // from the primary: changed → nothing
	opBridge                      // from the primary: topics, see OpenBridge → nothing, when all are listened to
	opEndBridge                   // from the primary: nothing → nothing, after the last opBridged
	opBridged                     // from a worker, a notice: what Relay.Bridged takes
	opPresence                    // from a worker: a query of package presence → its answer
	opMembers                     // from the primary: MembersRequest → Members
	opSubscribers                 // from a worker: a topic → Subscribers
	opDrain                       // from the primary, a notice: Drain
)

// Operations about the worker process itself. The gap is room for those above.
const (
	opReport      byte = iota + 32 // from the primary: nothing → telemetry.Report
	opProfile                      // from the primary: profileRequest → ProfileHead
	opProfilePart                  // from the primary: number of the profile (8), offset (8) → part
	opProfileEnd                   // from the primary, a notice: number of the profile (8)
)

// EnvVariable is set in the environment of workers whose primary has a registry: they wait for its answer before they
// serve. Primaries of early releases have none.
const EnvVariable = "EXPEDITE_REGISTRY"

// hello is what a worker must know before it serves.
type hello struct {
	Node   string  `json:"node"`
	Health *Health `json:"health"` // nil: from an earlier release
	// Paged reports that the rest comes in pages. It answers a helloRequest; earlier releases send none and get the
	// rest here.
	Paged   bool             `json:"paged"`
	Denials []denylist.Entry `json:"denials"`
	Follows []subscription   `json:"follows"`
	Changed *changed         `json:"changed,omitempty"` // nil: no settings have changed
	Drain   *Drain           `json:"drain,omitempty"`   // nil: there has been none
	// Tickets is a ratchet.Ratchet. Earlier releases have none.
	Tickets []byte `json:"tickets,omitempty"`
	// Certificates answers helloRequest.Certificates, as Config.Certificates returns them.
	Certificates []byte `json:"certificates,omitempty"`
}

// changed has settings that a reload has changed without a new process.
type changed struct {
	Number   uint64 `json:"number"` // grows with each change
	Settings []byte `json:"settings"`
}

// helloRequest asks for a hello.
type helloRequest struct {
	Paged bool `json:"paged"`
	// Certificates requests hello.Certificates: the worker cannot use its files.
	Certificates bool `json:"certificates,omitempty"`
}

// page is a part of what a worker must know before it serves: there may be more than one message holds.
type page struct {
	Denials []byte         `json:"denials,omitempty"` // of denylist.Append, one after the other
	Follows []subscription `json:"follows,omitempty"`
	Next    int            `json:"next,omitempty"` // what to ask for next; 0 is nothing
}

// pageRequest asks for a page. The first one is 0.
type pageRequest struct {
	At int `json:"at"`
}

// LiveRequest asks a worker for connections that have sessions: at most Limit, with the smallest ids above After.
type LiveRequest struct {
	Limit int       `json:"limit"`
	After connid.ID `json:"after,omitzero"`
}

// LiveConn is one of them. MaxLive of them, with the longest names, are far from filling a message.
type LiveConn struct {
	Session session.ID `json:"session"`
	User    string     `json:"user"`
	Conn    connid.ID  `json:"conn"`
	Node    string     `json:"node,omitempty"` // its machine; empty in the answer of a worker
}

// MaxLive is the largest Limit that a worker obeys. A primary of an earlier release may ask for more.
const MaxLive = 1001
