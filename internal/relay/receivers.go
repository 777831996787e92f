package relay

import (
	"slices"
	"time"
)

// maxNodes is the number of machines whose numbers are kept for one topic.
const maxNodes = 1024

// receiver is a topic that this machine subscribes to.
type receiver struct {
	wanted bool          // it has subscribers here
	left   time.Duration // since when it has none
	// listening tells that from was set: the time from which all its publications arrive, except those of an outage. deaf
	// tells that there is one, since when.
	listening, isDeaf bool
	from, deaf        time.Duration
	nodes             []heard
}

// heard is the latest publication of a machine on a topic.
type heard struct{ node, stream, seq uint64 }

// verdict tells what to do with a publication or a position.
type verdict struct {
	repeated bool // it was heard before
	gap      bool // publications before it were missed
	missed   uint64
}

// hear examines the number of a publication.
func (r *receiver) hear(m *message) verdict {
	h, known := r.of(m.node)
	last := *h
	if known && !m.after(last) {
		return verdict{repeated: true}
	}
	h.stream, h.seq = m.stream, m.seq
	switch {
	case !known: // what came before may be older than the subscription
		return verdict{}
	case m.stream != last.stream: // the machine has forgotten its number, and begun anew with 1
		return verdict{gap: m.seq > 1, missed: m.seq - 1}
	}
	return verdict{gap: m.seq > last.seq+1, missed: m.seq - last.seq - 1}
}

// place examines the number of the latest publication of a machine, which was published at a time. Of a machine that
// was not heard before, what it has published while this machine was listening was missed.
func (r *receiver) place(m *message, at time.Duration) verdict {
	h, known := r.of(m.node)
	last := *h
	if known && !m.after(last) {
		return verdict{repeated: true}
	}
	h.stream, h.seq = m.stream, m.seq
	if known && m.stream == last.stream {
		return verdict{gap: true, missed: m.seq - last.seq}
	}
	return verdict{gap: r.listening && at >= r.from}
}

// after reports whether a publication is later than another one of the same machine and topic.
func (m *message) after(h heard) bool {
	return m.stream > h.stream || m.stream == h.stream && m.seq > h.seq
}

// last returns the latest publication of a machine; nil if there is none.
func (r *receiver) last(node uint64) *heard {
	for i := range r.nodes {
		if r.nodes[i].node == node {
			return &r.nodes[i]
		}
	}
	return nil
}

// of returns the latest publication of a machine, and makes room for one that is not known.
func (r *receiver) of(node uint64) (h *heard, known bool) {
	if h := r.last(node); h != nil {
		return h, true
	}
	if len(r.nodes) >= maxNodes { // the first one has been silent for longest, or began first
		r.nodes = slices.Delete(r.nodes, 0, 1)
	}
	r.nodes = append(r.nodes, heard{node: node})
	return &r.nodes[len(r.nodes)-1], false
}
