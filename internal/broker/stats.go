package broker

// HubStats is what a Hub has done since it was made. Counters only grow.
type HubStats struct {
	// Published counts publications: it is the last one's number.
	Published uint64
	// Directed counts messages to one connection, each once.
	Directed uint64
	// Bounced counts directed messages that came back, because the worker that was asked first did not have the
	// connection.
	Bounced uint64
	// Flooded counts directed messages that were passed to all workers: those that came back, and those whose first
	// worker is not there. Whether anybody had the connection is not known here.
	Flooded uint64
	// Unroutable counts those among Flooded for which there was no worker to ask.
	Unroutable uint64
	// HeldFull counts directed messages that were dropped because their slot held too many. They are among Dropped, too.
	HeldFull uint64
	// AwayFull counts connections whose place the Hub did not note because it knows of too many. Their messages reach
	// them by way of the worker where they began.
	AwayFull uint64
	// Malformed counts, by slot, what a worker sent that was no envelope: a fault of this program or of its versions.
	Malformed map[int]uint64
	// Delivered counts, by slot, the envelopes that a worker's link took.
	Delivered map[int]uint64
	// Dropped counts, by slot, the envelopes that a worker missed because its link did not take them, or because
	// the slot held too many. A close that the worker gets later is not among them.
	Dropped map[int]uint64
}

// counts are those of HubStats that are not of one slot.
type counts struct{ published, directed, bounced, flooded, unroutable, heldFull, awayFull uint64 }

// slotCounts are those of all workers that a slot has had.
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
