package engine

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/expedite-go/expedite/internal/record"
)

// Mark is the last publication on a topic with a history that the client of a connection has received; NoPlace if it is
// not known which one that is.
type Mark struct {
	Topic string
	Place
}

// markLen is the length of the record of a mark without its topic.
const markLen = 16

// append appends the record of a mark to the state of a connection that moves.
func (m *Mark) append(b []byte) []byte {
	b = record.AppendHeader(b, tagMark, markLen+len(m.Topic))
	b = binary.LittleEndian.AppendUint64(b, m.Epoch)
	b = binary.LittleEndian.AppendUint64(b, m.Offset)
	return append(b, m.Topic...)
}

// parseMark reads the record of a mark, which has markLen bytes or more.
func parseMark(b []byte) Mark {
	return Mark{string(b[markLen:]), Place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}}
}

// maxRecent is the number of publications on topics with a history that are remembered to tell what a client has
// received whose connection ends with unacknowledged bytes.
const maxRecent = 8192

// marks are the latest publications of this engine on topics with a history. Engine.topicsMu guards it.
//
// What a client has received is not kept for each connection: all subscribers of a topic here have had the same, up to
// recoveries.places. When a connection ends, its last bytes that the peer has not acknowledged are those of the latest
// publications before the end.
type marks struct {
	recent []recent // from next on, if it is full
	next   int
	total  atomic.Uint64 // all that there ever were
}

// recent is a publication: its place, and the length of its frame.
type recent struct {
	Mark
	size int
}

// published records a publication that was sent to the subscribers here.
func (r *marks) published(m Mark, size int) {
	if len(r.recent) < maxRecent {
		r.recent = append(r.recent, recent{m, size})
	} else {
		r.recent[r.next] = recent{m, size}
		r.next = (r.next + 1) % maxRecent
	}
	r.total.Add(1)
}

// without returns the marks of a client that has received everything up to those given but for the latest publications
// and the last bytes before them. What else was sent counts as publications: a mark may be too low, but not too high.
func (r *marks) without(latest uint64, bytes int, list []Mark) []Mark {
	at := make(map[string]int, len(list))
	for i, m := range list {
		at[m.Topic] = i
	}
	for k := len(r.recent) - 1; k >= 0 && (latest > 0 || bytes > 0); k-- {
		p := r.recent[(r.next+k)%len(r.recent)]
		i, subscribed := at[p.Topic]
		concerned := subscribed && p.Epoch == list[i].Epoch && p.Offset <= list[i].Offset
		if concerned {
			list[i].Offset = p.Offset - 1
		}
		switch {
		case latest > 0:
			latest--
		case concerned:
			bytes -= p.size
		}
	}
	if latest > 0 || bytes > 0 { // more than is remembered
		for i := range list {
			list[i].Place = NoPlace()
		}
	}
	return list
}

// Marks returns what the client of c has received on those of its topics that have a history, as far as the system of
// the peer has acknowledged it. On the loop.
func (c *Conn) Marks() []Mark {
	e := c.eng
	if e.recoveries == nil {
		return nil
	}
	e.topicsMu.Lock()
	defer e.topicsMu.Unlock()
	left, at := c.unacknowledged()
	list := e.marksOf(c)
	if latest := e.marks.total.Load() - at; len(list) > 0 && (latest > 0 || left > 0) {
		list = e.marks.without(latest, left, list)
	}
	for _, r := range e.recoveries.of[c] {
		m := Mark{r.topic, r.from.After}
		if left > 0 { // perhaps nothing of what it was sent
			m.Offset -= min(m.Offset, uint64(r.missed))
		}
		list = append(list, m)
	}
	return list
}

// unacknowledged returns the number of bytes that were sent to c and not acknowledged, apart from a close frame, and
// marks.total when c began to end, or now.
func (c *Conn) unacknowledged() (bytes int, at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes, at = c.sock.Unacknowledged(), c.eng.marks.total.Load()
	if c.out != nil {
		bytes += c.out.size
	}
	if c.end != nil && c.phase.Load() != phaseOpen {
		bytes, at = max(bytes-c.end.frame, 0)+c.end.lost, c.end.at
	}
	return bytes, at
}

// leaves calls Route.Leaves at the end of c. What the peer has not acknowledged does not count as received, so the peer
// must not get it after all, unless it has closed and does not care.
func (c *Conn) leaves() {
	if left, _ := c.unacknowledged(); left > 0 && c.loopBits&(bitPeerClosed|bitHangup) == 0 {
		c.sock.Abandon()
	}
	c.route.Leaves(c, c.Marks())
}

// Replaced reports whether c is closed because another connection replaces it: see Route.Replaced.
func (c *Conn) Replaced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end != nil && c.end.code == c.route.Replaced
}

// marksOf returns what was sent to c on its topics. e.topicsMu is held.
func (e *Engine) marksOf(c *Conn) (list []Mark) {
	if e.recoveries == nil {
		return nil
	}
	for topic := range e.topics.Topics(c.key.Index) {
		if at, ok := e.recoveries.places[topic]; ok {
			list = append(list, Mark{topic, at})
		} else if e.cfg.History.Keeps(topic) { // nothing was published yet, and the answer of locate is on its way
			list = append(list, Mark{topic, NoPlace()})
		}
	}
	return list
}

// arriveAt takes over what an arriving connection has had, on topics of which no place is known here. e.topicsMu is
// held.
func (e *Engine) arriveAt(list []Mark) {
	if e.recoveries == nil {
		return
	}
	for _, m := range list {
		e.arrivedAt(m.Topic, m.Place)
	}
}

// arrivedAt records the place of the latest publication that the subscribers of a topic have had, unless a place is
// known. e.topicsMu is held.
func (e *Engine) arrivedAt(topic string, at Place) {
	if _, known := e.recoveries.places[topic]; !known && len(e.topics.Members(topic)) > 0 {
		e.recoveries.places[topic] = at
	}
}

// leastSize returns the length of the shortest frame of a publication that some connection got.
func (m *broadcast) leastSize() int {
	size := len(m.plain.frame)
	if m.short != nil {
		for _, f := range m.short {
			if f.frame != nil {
				size = min(size, len(f.frame))
			}
		}
	}
	return size
}
