package control

import "encoding/json"

// State says where a worker is in its life. The zero value is no state: the server did not say.
type State string

// The states of a worker, in the order of a life.
const (
	StateStarting State = "starting" // the process runs, and is not ready for clients yet
	StateReady    State = "ready"    // serves
	StateMoving   State = "moving"   // gives its connections to its successor
	StateDraining State = "draining" // takes no new clients and closes those it has
	StateDead     State = "dead"     // the process is gone, and no other fills the slot yet
)

// Status is what a running server says about itself. Its JSON is a contract with users' scripts: fields are added,
// never renamed or removed.
type Status struct {
	Version       string         `json:"version"`
	PID           int            `json:"pid"`        // of the primary
	Generation    int            `json:"generation"` // of the primary, from 1: grows when it replaces itself. 0: not known
	UptimeSeconds float64        `json:"uptime_seconds"`
	Addresses     []string       `json:"addresses"` // host:port each, as bound
	Scheduling    string         `json:"scheduling"`
	Workers       []WorkerStatus `json:"workers"` // by slot
	Totals        Totals         `json:"totals"`
	Handoff       Handoff        `json:"handoff"`
	// Rolling is the reload, or the like, that is under way. Nil: there is none.
	Rolling *Progress `json:"rolling,omitempty"`
	// Auth says who may come: off, optional or required, a token that is. Empty: not known.
	Auth string `json:"auth,omitempty"`
	// Sessions is how the session store is. Nil: there is none.
	Sessions *SessionStatus `json:"sessions,omitempty"`
	// Revocations is how the list of revocations is. Nil: not known.
	Revocations *RevocationStatus `json:"revocations,omitempty"`
	// Degraded names what does not work as it should, for people. Nil: all does.
	Degraded []string `json:"degraded,omitempty"`
}

// SessionStatus is how the session store is. Sessions in Redis are nobody's to count: then Sessions is nil, and
// Connected the number of those that are connected to this machine.
type SessionStatus struct {
	Store     string `json:"store"`     // memory or redis
	Sessions  *int64 `json:"sessions"`  // nil: not known
	Connected *int64 `json:"connected"` // those of them with a connection; nil: not known
	// Degraded says that the store outside cannot be used, Since when (RFC 3339) and because of what Cause.
	Degraded bool   `json:"degraded,omitempty"`
	Since    string `json:"since,omitempty"`
	Cause    string `json:"cause,omitempty"`
}

// RevocationStatus is how the list of revocations is.
type RevocationStatus struct {
	Revocations int64 `json:"revocations"` // that are in force here
	Current     bool  `json:"current"`     // those of other machines are known; true if there are no other machines
	// Degraded says that they are not shared with other machines as they should be, Since when (RFC 3339) and because
	// of what Cause.
	Degraded bool   `json:"degraded,omitempty"`
	Since    string `json:"since,omitempty"`
	Cause    string `json:"cause,omitempty"`
}

// WorkerStatus is one worker as the primary sees it. Counts are of this process unless they say otherwise.
type WorkerStatus struct {
	Slot       int   `json:"slot"`       // from 1, stays when the process is replaced
	Generation int   `json:"generation"` // grows with each process that fills the slot
	PID        int   `json:"pid"`        // 0: no process
	State      State `json:"state"`
	// Stale says that the worker did not answer within a second: the rest is what it said last.
	Stale           bool    `json:"stale,omitempty"`
	Connections     int64   `json:"connections"`
	HTTPConnections int64   `json:"http_connections"`
	RSSBytes        uint64  `json:"rss_bytes"`
	HeapBytes       uint64  `json:"heap_bytes"`
	MessagesIn      uint64  `json:"messages_in"`
	MessagesOut     uint64  `json:"messages_out"`
	BytesIn         uint64  `json:"bytes_in"`
	BytesOut        uint64  `json:"bytes_out"`
	LoopLagSeconds  float64 `json:"loop_lag_seconds"`
	// Restarts counts the processes of this slot that ended unasked.
	Restarts uint64 `json:"restarts"`
	// Limits counts, by the limit's name, how often one was hit. Nil: none was.
	Limits map[string]uint64 `json:"limits,omitempty"`
}

// Totals is the sum over all workers, those included that are gone: its counts do not fall when one is replaced.
type Totals struct {
	Connections     int64             `json:"connections"`
	HTTPConnections int64             `json:"http_connections"`
	MessagesIn      uint64            `json:"messages_in"`
	MessagesOut     uint64            `json:"messages_out"`
	BytesIn         uint64            `json:"bytes_in"`
	BytesOut        uint64            `json:"bytes_out"`
	RSSBytes        uint64            `json:"rss_bytes"`
	HeapBytes       uint64            `json:"heap_bytes"`
	Restarts        uint64            `json:"restarts"`
	Limits          map[string]uint64 `json:"limits,omitempty"`
}

// Handoff counts connections that moved between processes since the primary first started.
type Handoff struct {
	Moved       uint64  `json:"moved"`
	Failed      uint64  `json:"failed"`
	LastSeconds float64 `json:"last_seconds"` // how long the latest handoff took; 0: there was none
}

// MarshalJSON writes empty lists as [], never as null: scripts iterate over them.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status // without this method
	if s.Addresses == nil {
		s.Addresses = []string{}
	}
	if s.Workers == nil {
		s.Workers = []WorkerStatus{}
	}
	return json.Marshal(plain(s))
}

var _ json.Marshaler = Status{}
