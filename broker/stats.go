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
	// Malformed counts, by slot, what a worker sent that was no envelope: a fault of this program or of its versions.
	Malformed map[int]uint64
	// Delivered counts, by slot, the envelopes that a worker's link took.
	Delivered map[int]uint64
	// Dropped counts, by slot, the envelopes that a worker missed because its link did not take them.
	Dropped map[int]uint64
}

// counts is HubStats as the Hub keeps it: a slot's counters are found once, when a worker comes.
type counts struct {
	published, directed, bounced, flooded, unroutable uint64

	slots map[int]*slotCounts
}

// slotCounts are those of all workers that a slot has had.
type slotCounts struct{ delivered, dropped, malformed uint64 }

// slot finds the counters of a slot.
func (c *counts) slot(slot int) *slotCounts {
	s, ok := c.slots[slot]
	if !ok {
		s = new(slotCounts)
		c.slots[slot] = s
	}
	return s
}

func (c *counts) snapshot() HubStats {
	s := HubStats{
		Published: c.published, Directed: c.directed,
		Bounced: c.bounced, Flooded: c.flooded, Unroutable: c.unroutable,
		Malformed: make(map[int]uint64, len(c.slots)),
		Delivered: make(map[int]uint64, len(c.slots)),
		Dropped:   make(map[int]uint64, len(c.slots)),
	}
	for slot, n := range c.slots {
		s.Malformed[slot], s.Delivered[slot], s.Dropped[slot] = n.malformed, n.delivered, n.dropped
	}
	return s
}
