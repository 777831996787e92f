package broker

// HubStats are the counters of a Hub. They only grow.
type HubStats struct {
	// Published counts publications. It is also the number of the last one.
	Published uint64
	// Directed counts messages to one connection, each once.
	Directed uint64
	// Bounced counts directed messages that came back because the worker that received them first did not have the
	// connection.
	Bounced uint64
	// Flooded counts directed messages that were sent to all workers: those that came back, and those whose slot has no
	// worker. Whether any worker had the connection is not known.
	Flooded uint64
	// Unroutable counts those of Flooded that could not be sent to any worker.
	Unroutable uint64
	// HeldFull counts directed messages that were dropped because their slot held too many. Dropped includes them.
	HeldFull uint64
	// AwayFull counts connections whose slot the Hub did not record because it had too many records. Their messages are
	// bounced by the worker where they began.
	AwayFull uint64
	// Malformed counts, by slot, invalid envelopes from workers: a fault of this program, or of a version of it.
	Malformed map[int]uint64
	// Delivered counts, by slot, the envelopes that a worker's link took.
	Delivered map[int]uint64
	// Dropped counts, by slot, the envelopes that a worker missed because its link did not take them, or because the
	// slot held too many. It does not include closes that the worker receives later.
	Dropped map[int]uint64
}

// counts are the counters of HubStats that are not of a slot.
type counts struct{ published, directed, bounced, flooded, unroutable, heldFull, awayFull uint64 }

// slotCounts are the counters of all workers that a slot has had.
type slotCounts struct{ delivered, dropped, malformed uint64 }

// Stats returns a snapshot.
func (h *Hub) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.count
	s := HubStats{
		Published: c.published, Directed: c.directed,
		Bounced: c.bounced, Flooded: c.flooded, Unroutable: c.unroutable,
		HeldFull: c.heldFull, AwayFull: c.awayFull,
		Malformed: make(map[int]uint64, len(h.slots)),
		Delivered: make(map[int]uint64, len(h.slots)),
		Dropped:   make(map[int]uint64, len(h.slots)),
	}
	for number, at := range h.slots {
		s.Malformed[number], s.Delivered[number], s.Dropped[number] = at.malformed, at.delivered, at.dropped
	}
	return s
}
