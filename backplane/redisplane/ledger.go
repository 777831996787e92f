package redisplane

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// maxTaken is the number of channels whose latest kept message is verified, takenFor how long after it was taken.
	maxTaken, takenFor = 65_536, time.Minute
	// verifyAtOnce is the number of channels that are verified in a round trip.
	verifyAtOnce = 1000
)

// ledger has the latest message of each channel with a history that a server has taken. A server that replaces another
// one, or comes back, may have lost it: positions would be given a second time, and a client that returns would go on
// in another history than the one that it knows. So each is verified before anything else is sent on a new connection.
// If it is lost, the epoch ends.
type ledger struct {
	taken  map[string]taken // by channel
	pruned time.Time
}

// taken is a message that a server has taken.
type taken struct {
	channel string
	key     backplane.Key
	at      backplane.Position
	when    time.Time
}

// note records a message that was taken. It reports whether its position shows that the one before is lost, and whether
// there is room.
func (l *ledger) note(one taken) (lost, room bool) {
	before, known := l.taken[one.channel]
	switch {
	case known && before.at.Epoch == one.at.Epoch && one.at.Offset <= before.at.Offset:
		return before.key.Publisher != one.key.Publisher || before.key.Number < one.key.Number, true
	case !known && len(l.taken) >= maxTaken:
		return false, false
	case l.taken == nil:
		l.taken = make(map[string]taken)
	}
	l.taken[one.channel] = one
	return false, true
}

// note records what a batch was answered. The caller holds the lock.
func (p *publisher) note(n *node, o *outcome) {
	for i := range o.told {
		t := &o.told[i]
		if t.at.Offset == 0 {
			continue
		}
		lost, room := p.ledger.note(taken{t.channel, t.key, t.at, time.Now()})
		n.verify = n.verify || lost
		if !room {
			p.counts.Unverified++
		}
	}
}

// doubt has what a node has taken verified.
func (p *publisher) doubt(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.verify = true
}

// doubtful returns what is to be verified at a node, and records that this was begun.
func (p *publisher) doubtful(n *node) (list []taken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !n.verify || p.next != nil || !slices.Contains(p.layout.nodes, n) {
		return nil
	}
	n.verify = false
	for channel, one := range p.ledger.taken {
		if p.layout.node(channel) == n {
			list = append(list, one)
		}
	}
	return list
}

// verified forgets a message that is not in the history of now: the epoch is another one. renewed tells that this
// machine has ended the one before.
func (p *publisher) verified(one taken, renewed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ledger.taken, one.channel)
	if renewed {
		p.counts.Renewed++
	}
}

// prune forgets what a node, which works, has taken long ago.
func (p *publisher) prune(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.ledger.taken) == 0 || now.Sub(p.ledger.pruned) < takenFor/4 || n.verify {
		return
	}
	p.ledger.pruned = now
	for channel, one := range p.ledger.taken {
		if now.Sub(one.when) > takenFor && p.layout.node(channel) == n {
			delete(p.ledger.taken, channel)
		}
	}
}

// verify verifies what the server should have taken. It returns why the connection is lost.
func (s *sender) verify() error {
	list := s.shard.out.doubtful(s.node)
	for whole := true; len(list) > 0; whole = false {
		k := min(len(list), verifyAtOnce)
		commands, epochs := make(rueidis.Commands, k), make([]string, k)
		for i, one := range list[:k] {
			epochs[i] = newEpoch()
			keys := s.shard.keys(one.channel[len(s.shard.prefix):])
			commands[i] = s.shard.scripts.verify.command(s.link.client.B(), whole && i == 0, keys,
				strconv.FormatUint(one.at.Epoch, 10), epochs[i], publisherName(one.key.Publisher),
				strconv.FormatUint(one.key.Number, 10), strconv.FormatUint(one.at.Offset, 10))
		}
		for i, r := range s.link.client.DoMulti(onLink(), commands...) {
			epoch, err := r.ToString()
			text := reply(err)
			switch {
			case err != nil && text == "":
				return explain(err)
			case strings.HasPrefix(text, "MOVED "): // with its history, or to a server that is new and verified as well
			case err != nil:
				s.shard.out.doubt(s.node) // with the next ping
			case epoch != strconv.FormatUint(list[i].at.Epoch, 10):
				s.shard.out.verified(list[i], epoch == epochs[i])
			}
		}
		list = list[k:]
	}
	return nil
}
