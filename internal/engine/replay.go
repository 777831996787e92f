package engine

import "slices"

// historyLimit is the maximum size in bytes of the publications kept for connections that may arrive from a worker that
// lags behind.
const historyLimit = 64 << 20

// published is a publication in the history.
type published struct {
	seq    uint64
	topic  string
	except uint64 // the id of a connection that does not get it; 0 is none
	broadcast

	assignment *Assignment // not a publication
	gap        *Gap        // not a publication: this engine has missed some, up to seq
}

// concerns reports whether a connection with these topics must get p.
func (p *published) concerns(topics []string) bool {
	return p.topic == "" && len(topics) > 0 || slices.Contains(topics, p.topic)
}

func (p *published) size() int {
	if p.assignment != nil {
		return assignmentSize
	}
	return len(p.plain.frame) + len(p.topic)
}

// assignmentSize is the assumed size of an assignment in the history, in bytes.
const assignmentSize = 1024

// Record keeps publications until Unrecord, for connections that will arrive without having had them all. On the loop.
func (e *Engine) Record() {
	e.recording, e.forgotten = true, e.position
}

// Unrecord ends Record. On the loop.
func (e *Engine) Unrecord() {
	e.recording, e.history, e.historySize = false, nil, 0
}

// remember keeps a publication, and removes the oldest ones beyond historyLimit. It returns the message in the history,
// valid until the next call.
func (e *Engine) remember(p published) *broadcast {
	e.history = append(e.history, p)
	last := &e.history[len(e.history)-1].broadcast
	e.historySize += p.size()
	for e.historySize > historyLimit {
		e.count.limit(limitHistory)
		e.drop()
	}
	return last
}

// forget removes publications that are no longer needed, because later arrivals have had those up to position.
func (e *Engine) forget(position uint64) {
	for len(e.history) > 0 && e.history[0].seq <= position {
		e.drop()
	}
}

// drop removes the oldest publication.
func (e *Engine) drop() {
	e.forgotten = e.history[0].seq
	e.historySize -= e.history[0].size()
	e.history[0] = published{}
	e.history = e.history[1:]
}

// catchUp sends c what it missed while it moved. If its old worker was ahead of this one, catchUp records what c must
// not get again.
func (e *Engine) catchUp(c *Conn, topics []string, position uint64) {
	if position > e.position {
		e.topicsMu.Lock()
		if e.ahead == nil {
			e.ahead = make(map[uint32]uint64)
		}
		e.ahead[c.key.Index] = position
		e.farthest = max(e.farthest, position)
		e.topicsMu.Unlock()
		return
	}
	if len(topics) > 0 && e.recording && position < e.forgotten { // too much was published meanwhile
		e.tellGap(c, Gap{})
	}
	for i := range e.history {
		p := &e.history[i] // its forms are kept
		switch {
		case p.assignment != nil && p.seq > position:
			topics = c.catchUpAssignment(p.assignment, topics)
		case p.assignment != nil:
		case p.seq <= position || !p.concerns(topics) || p.except != 0 && p.except == c.id:
		case p.gap != nil:
			e.tellGap(c, *p.gap)
		default:
			e.sendPublication(c, p.topic, &p.broadcast)
		}
	}
}
