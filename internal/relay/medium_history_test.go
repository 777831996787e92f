package relay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
)

// keep is the rule of the tests: topics that begin with k keep ten messages, and kall all.
func keep(topic string) (backplane.Retention, bool) {
	if topic == "kall" {
		return backplane.Retention{Messages: 1 << 20, For: time.Hour}, true
	}
	return backplane.Retention{Messages: 10, For: time.Hour}, strings.HasPrefix(topic, "k")
}

// log is the history of a topic in a medium. Its epochs are 1, 2, 3.
type log struct {
	epoch, begin, head uint64
	entries            []backplane.Entry
	last               map[uint64]uint64
}

// stored is where a history is: servers of a medium do not know of each other.
type stored struct {
	server int
	topic  string
}

// log returns the history of a topic at the first server. The caller has the lock.
func (m *medium) log(topic string) *log { return m.logAt(stored{topic: topic}) }

// log returns the history of a topic at the server of this machine. The caller has the lock.
func (p *plane) log(topic string) *log { return p.logAt(stored{p.server, topic}) }

func (m *medium) logAt(of stored) *log {
	if m.logs == nil {
		m.logs = make(map[stored]*log)
	}
	l := m.logs[of]
	if l == nil {
		m.epochs++
		l = &log{epoch: m.epochs, last: make(map[uint64]uint64)}
		m.logs[of] = l
	}
	return l
}

// move has the topics of this machine at another server from now on.
func (p *plane) move(server int) {
	p.setCut(true)
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	p.setCut(false)
}

// flush loses all histories.
func (m *medium) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs = nil
}

// lose loses the latest messages of a topic, as a failover does.
func (m *medium) lose(topic string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.log(topic)
	l.head -= uint64(n)
	l.entries = l.entries[:len(l.entries)-n]
}

func (p *plane) Append(topic string, one backplane.Append, done func(backplane.Position, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return backplane.ErrOverloaded
	}
	one.Payload = slices.Clone(one.Payload)
	if p.stuck {
		p.waits = append(p.waits, func() { p.append(topic, one, done) })
		return nil
	}
	p.later(func() { p.append(topic, one, done) })
	return nil
}

// release ends that appended messages wait.
func (p *plane) release() {
	p.mu.Lock()
	p.stuck = false
	waits := p.waits
	p.waits = nil
	p.mu.Unlock()
	for _, f := range waits {
		p.later(f)
	}
}

func (p *plane) append(topic string, one backplane.Append, done func(backplane.Position, error)) {
	p.mu.Lock()
	if p.never {
		p.mu.Unlock()
		done(backplane.Position{}, backplane.ErrRefused)
		return
	}
	l := p.log(topic)
	if one.Key.Number <= l.last[one.Key.Publisher] {
		p.mu.Unlock()
		done(backplane.Position{Epoch: l.epoch}, nil)
		return
	}
	l.last[one.Key.Publisher] = one.Key.Number
	l.head++
	l.entries = append(l.entries, backplane.Entry{Offset: l.head, Payload: one.Payload})
	l.entries = l.entries[max(len(l.entries)-one.Keep.Messages, 0):]
	at := backplane.Position{Epoch: l.epoch, Offset: l.head}
	var to []*plane
	for _, q := range p.planes {
		switch {
		case !q.topics[topic] || q.cut || q.server != p.server:
		case q.deaf > 0:
			q.deaf--
		default:
			to = append(to, q)
		}
	}
	vague := p.vague
	p.mu.Unlock()
	for _, q := range to {
		q.later(func() { q.to.Receive([]backplane.Message{{Topic: topic, Payload: slices.Clone(one.Payload), At: at}}) })
	}
	told := at
	if vague { // as if it was sent again
		told.Offset = 0
	}
	done(told, nil)
}

func (p *plane) Read(topic string, what backplane.Range, done func(backplane.Page, error)) error {
	p.later(func() {
		p.mu.Lock()
		l := p.log(topic)
		page := backplane.Page{Epoch: l.epoch, Begin: l.begin, Head: l.head}
		after, size := what.After, 0
		if what.Newest > 0 {
			after = l.head - min(l.head, uint64(what.Newest))
		}
		for _, one := range l.entries {
			if one.Offset <= after {
				continue
			}
			if size += len(one.Payload); len(page.Entries) > 0 && what.Bytes > 0 && size > what.Bytes {
				break
			}
			page.Entries = append(page.Entries, one)
		}
		away := p.away || p.cut
		p.mu.Unlock()
		if away {
			done(backplane.Page{}, backplane.ErrUnavailable)
			return
		}
		done(page, nil)
	})
	return nil
}

func (p *plane) Renew(topic string, epoch uint64, done func(backplane.Page, error)) error {
	p.later(func() {
		p.mu.Lock()
		l := p.log(topic)
		if l.epoch == epoch {
			p.epochs++
			l.epoch, l.begin = p.epochs, l.head
		}
		page := backplane.Page{Epoch: l.epoch, Begin: l.begin, Head: l.head}
		p.mu.Unlock()
		done(page, nil)
	})
	return nil
}

// pageText returns a page as text.
func pageText(e *broker.Envelope) string {
	p, err := broker.ParsePage(e)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%s page %d:%d", p.Topic, p.After.Epoch, p.After.Offset)
	for _, m := range p.Messages {
		text += " " + string(m.Payload)
	}
	if p.More {
		text += " more"
	}
	if p.Lost {
		text += " lost"
	}
	return text
}

// recall asks for the history in the worker.
func (k *machine) recall(q broker.Query) {
	k.t.Helper()
	if q.Bytes == 0 {
		q.Bytes = broker.MaxPage
	}
	if err := k.local.Recall(q); err != nil {
		k.t.Fatal(err)
	}
}

var _ backplane.History = (*plane)(nil)
