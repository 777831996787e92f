package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// NodeStatus is what is known of a machine of the service. Its JSON is a contract like that of [Status].
type NodeStatus struct {
	Node        string    `json:"node"` // its name among all; new when its primary is started anew
	Host        string    `json:"host"`
	PID         int       `json:"pid"` // of the primary
	Version     string    `json:"version"`
	Addresses   []string  `json:"addresses"` // that clients connect to
	Workers     int       `json:"workers"`   // slots whose worker takes new clients
	Connections int64     `json:"connections"`
	Started     time.Time `json:"started,omitzero"`
	// Status is the machine's own; nil if it is missing, because of Missing.
	Status  *Status `json:"status"`
	Missing string  `json:"missing,omitempty"`
}

// NodeList are the machines of the service.
type NodeList struct {
	Nodes []NodeStatus `json:"nodes"` // this one included
	// Cause is why there may be machines that are not in the list. Empty: all are.
	Cause string `json:"cause,omitempty"`
}

// MarshalJSON encodes empty lists as [], never as null.
func (n NodeStatus) MarshalJSON() ([]byte, error) {
	type plain NodeStatus // without this method
	if n.Addresses == nil {
		n.Addresses = []string{}
	}
	return json.Marshal(plain(n))
}

// Node returns what a status tells of its machine. Its host and its name among all are not in there.
func (s Status) Node() NodeStatus {
	n := NodeStatus{
		PID: s.PID, Version: s.Version, Connections: s.Totals.Connections,
		Started: time.Now().Add(-time.Duration(s.UptimeSeconds * float64(time.Second))).Truncate(time.Second),
		Status:  &s,
	}
	if n.Addresses = s.Addresses; len(s.Listeners) > 0 {
		n.Addresses = nil
		for _, l := range s.Listeners {
			n.Addresses = append(n.Addresses, l.Text())
		}
	}
	slots := make(map[int]bool) // during a reload a slot has two workers
	for _, w := range s.Workers {
		slots[w.Slot] = slots[w.Slot] || w.State == StateReady || w.State == StateMoving
	}
	for _, takes := range slots {
		if takes {
			n.Workers++
		}
	}
	return n
}

// StatusOfAll returns the state of the server, with those of all machines in Nodes.
func (c *Client) StatusOfAll(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/status?all=1", nil)
}

// addNodes adds the machines to a status.
func addNodes(ctx context.Context, st *Status, target Target) error {
	list, err := target.Nodes(ctx)
	if err != nil {
		return err
	}
	st.Nodes, st.NodesCause = list.Nodes, list.Cause
	return nil
}

var _ json.Marshaler = NodeStatus{}
