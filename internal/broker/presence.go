package broker

// Presence learns from the workers who is in a topic. Its methods are called with the Hub's lock held: they must
// neither block nor call the Hub. What they get is valid until they return. Ports are never 0.
type Presence interface {
	// Attached reports a worker. An Ask is on its way to it.
	Attached(port uint64)
	// Detached reports that a worker has ended. Nothing is received from it any more.
	Detached(port uint64)
	// Received passes on an Enter, a Leave or a Told of a worker.
	Received(port uint64, kind Kind, topic string, payload []byte)
}

// Track makes the Hub pass on who is in a topic. It must be called before Attach.
func (h *Hub) Track(p Presence) { h.presence = p }

// Change tells the subscribers of a topic of a change, as a publication.
func (h *Hub) Change(topic string, event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publish(topic, AppendEnvelope(nil, Envelope{Kind: Change, Topic: topic, Payload: event}))
}

// Ask asks the worker of a port for everything. If its link does not take that, it is counted as dropped.
func (h *Hub) Ask(port uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.ports {
		if p.mark == port {
			p.put(AppendEnvelope(nil, Envelope{Kind: Ask}))
		}
	}
}
