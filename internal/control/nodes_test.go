package control

import (
	"encoding/json"
	"testing"
	"time"
)

// TestNodesForm: the JSON of machines is a contract.
func TestNodesForm(t *testing.T) {
	st := example()
	st.Listeners = []ListenerStatus{{Address: "127.0.0.1:8080", Network: "tcp"}, {Address: "/s", Network: "unix"}}
	n := st.Node()
	n.Node, n.Host, n.Started, n.Status = "00000000000000a1", "one", time.Unix(1_800_000_000, 0).UTC(), nil
	b, err := json.MarshalIndent([]NodeStatus{n, {Node: "b2", Missing: "it has not answered"}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "nodes.json", string(b)+"\n")
}

// TestStatusOfAllTravels: machines are in the status only if they were asked for.
func TestStatusOfAllTravels(t *testing.T) {
	path, target := socket(t), newFake()
	target.status = example()
	target.nodes = NodeList{Nodes: []NodeStatus{{Node: "a"}, {Node: "b", Status: &Status{PID: 7}}}, Cause: "why"}
	start(t, path, target)
	c := dial(t, path)
	if st, err := c.Status(t.Context()); err != nil || st.Nodes != nil || st.NodesCause != "" {
		t.Errorf("got %+v, %v; want no machines", st.Nodes, err)
	}
	st, err := c.StatusOfAll(t.Context())
	if err != nil || len(st.Nodes) != 2 || st.NodesCause != "why" || st.Nodes[1].Status.PID != 7 || st.PID != 4711 {
		t.Errorf("got %+v, %v", st.Nodes, err)
	}
}
