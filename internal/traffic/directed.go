package traffic

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/url"
	"strconv"
	"sync"

	"github.com/expedite-go/expedite/ws"
)

// directed is a client that sends messages to its peer's connection id and receives the peer's messages.
type directed struct {
	name  string
	peer  *directed
	known chan struct{} // closed when id is known

	mu     sync.Mutex
	id     string
	sender uint32
	seq    sequence
	sent   uint64
}

func newDirected(name string) *directed {
	d := &directed{name: name, known: make(chan struct{}), seq: sequence{next: 1}}
	d.peer = d
	return d
}

// maxDirected is the longest text of a directed message in bytes. JSON escapes may expand a byte to six.
const maxDirected = 100

// letterJSON is a directed message.
type letterJSON struct {
	To   string `json:"to"`
	N    uint64 `json:"n"`
	From uint32 `json:"from"`
	Text string `json:"text"`
	CRC  uint32 `json:"crc"`
}

// sum returns the CRC of all other fields.
func (l *letterJSON) sum() uint32 {
	return crc32.ChecksumIEEE(fmt.Appendf(nil, "%s %d %d %s", l.To, l.N, l.From, l.Text))
}

func (d *directed) target() string { return pathUser + "?" + url.Values{"name": {d.name}}.Encode() }

func (d *directed) play(c *client) error {
	for _, one := range [...]*directed{d, d.peer} { // a message from a peer without a known id would be rejected
		select {
		case <-one.known:
		case <-c.stop:
		case <-c.gone:
		}
	}
	for c.rest() {
		d.mu.Lock()
		d.sent++
		l := letterJSON{N: d.sent, From: c.sender}
		d.mu.Unlock()
		d.peer.mu.Lock()
		l.To = d.peer.id
		d.peer.mu.Unlock()
		l.Text = string(c.run.corpus.body(c.rng, ws.OpText, c.rng.IntN(maxDirected+1)))
		l.CRC = l.sum()
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if err := c.send(ws.OpText, b, cut{}); err != nil {
			return err
		}
	}
	return nil
}

func (d *directed) hear(c *client, a *arrival) {
	b, whole := a.all()
	d.mu.Lock()
	known := d.id != ""
	if !known {
		d.id, d.sender = string(b), c.sender
		defer close(d.known)
	}
	id := d.id
	d.mu.Unlock()
	if !known {
		if _, err := strconv.ParseUint(id, 16, 64); err != nil || len(id) != 16 || a.op != ws.OpText {
			c.bad("no id: %.60q", b)
		}
		return
	}
	var l letterJSON
	if err := json.Unmarshal(b, &l); err != nil || !whole || a.op != ws.OpText || l.sum() != l.CRC {
		c.bad("invalid directed message: %s, %v", describe(b), err)
		return
	}
	sent := d.peer.progress(l.From)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case l.To != id:
		c.bad("message for %s arrived at %s", l.To, id)
	case l.N > sent:
		c.bad("message %d of client %d, but the peer has sent %d", l.N, l.From, sent)
	case c.take(&d.seq, l.N):
		c.run.tally.directed.Add(1)
	}
}

// progress returns the number of messages that d has sent, or 0 if sender is another client.
func (d *directed) progress(sender uint32) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sender != d.sender {
		return 0
	}
	return d.sent
}

func (d *directed) owed() (uint64, bool) {
	d.peer.mu.Lock()
	sent := d.peer.sent
	d.peer.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seq.owed(sent), d.seq.complete(sent)
}

var _ player = (*directed)(nil)
