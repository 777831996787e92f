package control

import "encoding/json"

// State is the state of a worker. The zero value is unknown.
type State string

// The states of a worker, in the order in which it passes through them.
const (
	StateStarting State = "starting" // the process runs, but is not ready for clients
	StateReady    State = "ready"    // it serves clients
	StateMoving   State = "moving"   // its connections move to its successor
	StateDraining State = "draining" // it accepts no clients and closes its connections
	StateDead     State = "dead"     // the process has ended, and no other has the slot yet
)

// Status is the state of a running server. Its JSON is a contract with users' scripts: fields are added, never renamed
// or removed.
type Status struct {
	Version       string         `json:"version"`
	PID           int            `json:"pid"`        // of the primary
	Generation    int            `json:"generation"` // of the primary, from 1; grows when it replaces itself; 0: unknown
	UptimeSeconds float64        `json:"uptime_seconds"`
	Addresses     []string       `json:"addresses"` // host:port each, as bound; those of TCP
	Scheduling    string         `json:"scheduling"`
	Workers       []WorkerStatus `json:"workers"` // by slot
	Totals        Totals         `json:"totals"`
	Handoff       Handoff        `json:"handoff"`
	// Listeners are all addresses that clients connect to. Nil: none yet, or unknown.
	Listeners []ListenerStatus `json:"listeners,omitempty"`
	// Rolling is the operation under way: a reload, scale or rebalance. Nil: there is none.
	Rolling *Progress `json:"rolling,omitempty"`
	// Draining is the drain that was begun with the command. Nil: there is none.
	Draining *DrainStatus `json:"draining,omitempty"`
	// Auth says whether clients need a token: off, optional or required. Empty: unknown.
	Auth string `json:"auth,omitempty"`
	// TLS tells how clients use TLS. Nil: they do not.
	TLS *TLSStatus `json:"tls,omitempty"`
	// Sessions is the state of the session store. Nil: there is none.
	Sessions *SessionStatus `json:"sessions,omitempty"`
	// Revocations is the state of the list of revocations. Nil: unknown.
	Revocations *RevocationStatus `json:"revocations,omitempty"`
	// Backplane is the state of what connects this machine with others. Nil: this machine is alone.
	Backplane *BackplaneStatus `json:"backplane,omitempty"`
	// History is what topics keep in the primary. Nil: no topic keeps messages there.
	History *HistoryStatus `json:"history,omitempty"`
	// Presence is who is in topics on this machine. Nil: no topic has presence.
	Presence *PresenceStatus `json:"presence,omitempty"`
	// Degraded names what does not work as it should, for people. Nil: everything works.
	Degraded []string `json:"degraded,omitempty"`
	// Nodes are all machines of the service, if they were asked for. NodesCause is why there may be others; empty:
	// there are none.
	Nodes      []NodeStatus `json:"nodes,omitempty"`
	NodesCause string       `json:"nodes_cause,omitempty"`
}

// BackplaneStatus is the state of what connects this machine with others.
type BackplaneStatus struct {
	Kind        string            `json:"kind"`         // redis or custom
	Up          bool              `json:"up"`           // messages pass: all of them
	Degraded    bool              `json:"degraded"`     // it is down, messages wait, or this machine cannot be announced
	Cause       string            `json:"cause"`        // why it is degraded; empty if it is not
	LagSeconds  float64           `json:"lag_seconds"`  // how long the oldest message has waited to be sent
	Machines    int               `json:"machines"`     // that are known, this one included; 0: unknown
	Topics      int64             `json:"topics"`       // that this machine subscribes to
	QueuedBytes int64             `json:"queued_bytes"` // waiting to be sent
	Events      map[string]uint64 `json:"events"`       // counters since this program runs, by name: docs/scale-out.md
}

// PresenceStatus is who is in topics on this machine.
type PresenceStatus struct {
	Topics   int64             `json:"topics"`
	Members  int64             `json:"members"`  // once for each topic
	Degraded bool              `json:"degraded"` // other machines are not told at present
	Cause    string            `json:"cause"`
	Events   map[string]uint64 `json:"events"` // counters since this program runs, by name: docs/presence.md
}

// TLSStatus tells how clients use TLS. The counters go on when workers and the program are replaced.
type TLSStatus struct {
	// Versions counts handshakes that were completed, by version: "1.2" and "1.3".
	Versions map[string]uint64 `json:"versions"`
	// Failures counts those that were not, by reason: failed, abandoned, not_tls. docs/tls.md
	Failures map[string]uint64 `json:"failures,omitempty"`
	// CertificateExpires is when the first certificate expires (RFC 3339). Empty: unknown.
	CertificateExpires string `json:"certificate_expires,omitempty"`
	// CertificateSeconds is how long that is from now; negative: it has expired.
	CertificateSeconds float64 `json:"certificate_seconds,omitempty"`
	// RereadFailing reports that the files of certificates cannot be used: the earlier ones stay in use.
	RereadFailing bool `json:"reread_failing,omitempty"`
	// Automatic are the certificates of --tls-auto.
	Automatic []CertificateStatus `json:"automatic,omitempty"`
}

// CertificateStatus is the certificate of a domain. Times are those of RFC 3339.
type CertificateStatus struct {
	Domain  string `json:"domain"`
	Expires string `json:"expires,omitempty"` // empty: there is none
	// Next is when it is renewed, or when the next attempt is; empty: another server obtains it.
	Next     string `json:"next_attempt,omitempty"`
	Failures int    `json:"failures,omitempty"` // attempts in a row that have failed
	Cause    string `json:"cause,omitempty"`    // why the last one has
}

// HistoryStatus is what topics keep in the primary.
type HistoryStatus struct {
	Topics     int64             `json:"topics"`
	Messages   int64             `json:"messages"`
	Bytes      int64             `json:"bytes"`
	LimitBytes int64             `json:"limit_bytes"`
	Events     map[string]uint64 `json:"events"` // counters, by name: docs/history.md
}

// ListenerStatus is an address that clients connect to.
type ListenerStatus struct {
	Address string `json:"address"` // host:port as bound, or the path of a Unix socket
	Network string `json:"network"` // tcp, tcp4 (IPv4 only), tcp6 (IPv6 only) or unix
	Proxy   bool   `json:"proxy"`   // clients begin with a PROXY header
	TLS     bool   `json:"tls"`     // clients use TLS
}

// Text returns the address as users write it.
func (l ListenerStatus) Text() string {
	if l.Network == "unix" {
		return "unix:" + l.Address
	}
	return l.Address
}

// SessionStatus is the state of the session store. If sessions are in Redis, their number is unknown: then Sessions is
// nil, and Connected counts those that are connected to this machine.
type SessionStatus struct {
	Store     string `json:"store"`     // memory, redis or custom
	Sessions  *int64 `json:"sessions"`  // nil: unknown
	Connected *int64 `json:"connected"` // those with a connection; nil: unknown
	// Degraded is set if the external store is unavailable, Since that time (RFC 3339), because of Cause.
	Degraded bool   `json:"degraded,omitempty"`
	Since    string `json:"since,omitempty"`
	Cause    string `json:"cause,omitempty"`
}

// RevocationStatus is the state of the list of revocations.
type RevocationStatus struct {
	Revocations int64 `json:"revocations"` // in force on this machine
	Current     bool  `json:"current"`     // those of other machines are known; true if there are none
	// Degraded is set if sharing them with other machines does not work, Since that time (RFC 3339), because of Cause.
	Degraded bool   `json:"degraded,omitempty"`
	Since    string `json:"since,omitempty"`
	Cause    string `json:"cause,omitempty"`
}

// WorkerStatus is the state of one worker. Counts are those of this process unless documented otherwise.
type WorkerStatus struct {
	Slot       int   `json:"slot"`       // from 1; stays the same when the process is replaced
	Generation int   `json:"generation"` // grows with each process in the slot
	PID        int   `json:"pid"`        // 0: there is none
	State      State `json:"state"`
	// Stale is set if the worker did not answer within a second. The other fields are those of its last answer.
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
	// Restarts counts the processes of this slot that ended unexpectedly.
	Restarts uint64 `json:"restarts"`
	// Limits counts how often each limit was hit, by its name. Nil: none was.
	Limits map[string]uint64 `json:"limits,omitempty"`
}

// Totals is the sum over all workers, including those that have ended: its counts do not fall when one is replaced.
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
	// Compressed counts compressed messages. Nil: there were none.
	Compressed *Compressed `json:"compressed,omitempty"`
}

// Compressed counts the messages of permessage-deflate, and the bytes of their payloads without and with compression.
type Compressed struct {
	MessagesIn  uint64 `json:"messages_in"`
	PlainIn     uint64 `json:"plain_in"`
	BytesIn     uint64 `json:"bytes_in"`
	MessagesOut uint64 `json:"messages_out"`
	PlainOut    uint64 `json:"plain_out"`
	BytesOut    uint64 `json:"bytes_out"`
}

// Handoff counts connections that moved between processes since the primary first started.
type Handoff struct {
	Moved       uint64  `json:"moved"`
	Drained     uint64  `json:"drained"`      // closed with 1012, because they could not move
	Failed      uint64  `json:"failed"`       // lost
	LastSeconds float64 `json:"last_seconds"` // duration of the latest handoff; 0: there was none
}

// MarshalJSON encodes empty lists as [], never as null: scripts iterate over them.
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
