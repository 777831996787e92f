package engine

// A few compressed bytes can expand to a large message and cause much work. To keep the loop responsive, connections
// with compression are read in small portions, and the work of one turn is limited: the others wait in a queue.

const (
	// packedRead is the maximum length of a read in which compressed messages may end. They can expand to a thousand
	// times as much.
	packedRead = 4 << 10
	// inflateTurn is how many bytes are decompressed in a turn of the loop, about: 10 ms of work.
	inflateTurn = 4 << 20
	// messageWork is what a message costs beside its own bytes, as a number of bytes: compressing the answer with the
	// history, above all.
	messageWork = 16 << 10
)

// inflateShare is what connections with compression have used of a turn. On the loop only.
type inflateShare struct {
	spent   int
	waiting []*Conn // to be read in another turn, the oldest first
	serving bool    // they are being read
	posted  bool    // they will be
}

// packed returns the part of buf that c may read at once: at most the rest of the current frame, or packedRead.
func (c *Conn) packed(buf []byte) []byte {
	return buf[:min(uint64(len(buf)), max(packedRead, c.reader.Left()))]
}

// waitsForShare reports whether c is read in another turn because others have used up this one, or wait as well.
func (c *Conn) waitsForShare() bool {
	e := c.eng
	s := &e.share
	if s.spent < inflateTurn && (s.serving || len(s.waiting) == 0) {
		return false
	}
	if c.loopBits&bitWaiting == 0 {
		c.loopBits |= bitWaiting
		s.waiting = append(s.waiting, c)
		e.count.limit(limitInflateTurn)
	}
	if !s.posted && !s.serving {
		s.posted = e.loop.Post(e.serveShare)
	}
	return true
}

// serveShare reads those that wait, as far as this turn allows. A callback may end the goroutine.
func (e *Engine) serveShare() {
	s := &e.share
	s.serving = true
	defer func() {
		s.serving = false
		s.posted = len(s.waiting) > 0 && e.loop.Post(e.serveShare)
		if len(s.waiting) == 0 {
			s.waiting = nil
		}
	}()
	for s.spent < inflateTurn && len(s.waiting) > 0 {
		c := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		c.loopBits &^= bitWaiting
		if !c.gone() { // otherwise it has ended or moved, and its input is still in the socket
			c.read(false)
		}
	}
}
