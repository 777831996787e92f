package redisplane

import (
	"time"

	"github.com/redis/rueidis"
)

// send keeps a connection to the node and sends what is in its queue, until the node is not used any more.
func (n *node) send() {
	pause := firstPause
	for n.ctx.Err() == nil {
		began := time.Now()
		l, err := n.connect()
		if err == nil {
			n.setLink(l)
			s := sender{node: n, link: l}
			err = s.run()
			n.setLink(nil)
			l.close()
			if s.useful {
				pause = firstPause
			}
		}
		n.sending.Store(&err)
		n.shard.watch.look("")
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		n.wait(pause)
		pause = min(2*pause, lastPause)
	}
}

// sender sends on one connection.
type sender struct {
	*node
	link     *link
	commands rueidis.Commands
	hold     <-chan time.Time // nothing is sent until then
	pause    time.Duration
	useful   bool // a message was taken
	// whole has the next appended message sent with the text of the script: it is unknown or may be so.
	whole     bool
	parked    <-chan time.Time // what is parked is sent then
	parkPause time.Duration
	before    map[source]uint64 // the latest numbers of a batch
}

// source is a publisher on a channel.
type source struct {
	channel   string
	publisher uint64
}

// run sends until the connection is lost, and returns why.
func (s *sender) run() error {
	s.sending.Store(nil)
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	s.whole, s.before = true, make(map[source]uint64)
	s.shard.out.unpark(s.node)
	s.shard.out.doubt(s.node)
	wake(s.wakeSend) // of what has been waiting
	for {
		select {
		case <-s.wakeSend:
		case <-s.hold:
			s.hold = nil
		case <-s.parked:
			s.parked = nil
			s.shard.out.unpark(s.node)
		case <-ping.C:
			if err := s.check(s.link.client); err != nil {
				return err
			}
			s.shard.out.prune(s.node)
		case <-s.link.main.lost:
			return explain(errLost)
		case <-s.ctx.Done():
			return explain(s.ctx.Err())
		}
		if err := s.drain(); err != nil {
			return err
		}
	}
}

// drain sends all batches. It returns why the connection is lost.
func (s *sender) drain() error {
	for s.hold == nil {
		if err := s.verify(); err != nil {
			return err
		}
		batch := s.shard.out.take(s.node)
		if len(batch) == 0 {
			s.idle()
			return nil
		}
		o := judge(batch, s.deliver(batch))
		s.spare(&o)
		if len(o.again)+len(o.parked) < len(batch) {
			s.useful, s.kills = true, 0
		}
		s.shard.out.done(s.node, batch, &o)
		s.report(&o)
		switch {
		case o.lost:
			return o.err
		case len(o.again) > 0 && o.err == nil: // at once
		case len(o.again) > 0:
			s.sending.Store(&o.err)
			s.pause = min(max(2*s.pause, firstPause), lastPause)
			s.hold = time.After(jitter(s.pause))
			if o.moved != "" {
				s.shard.watch.look(o.moved)
			}
		default:
			s.sending.Store(nil)
			s.pause = 0
		}
	}
	return nil
}

// idle forgets why messages were not taken if none waits here: they may have gone to another server.
func (s *sender) idle() {
	if s.shard.out.empty(s.node) {
		s.sending.Store(nil)
		s.storing.Store(nil)
		s.pause, s.parkPause = 0, 0
	}
}

// deliver sends a batch and blocks until it is answered or the connection is lost.
func (s *sender) deliver(batch []message) []rueidis.RedisResult {
	b := s.link.client.B()
	commands := s.commands[:0]
	clear(s.before)
	for i := range batch {
		m := &batch[i]
		if m.call != nil {
			commands = append(commands, s.appendCommand(m))
		} else if s.sharded {
			commands = append(commands, b.Spublish().Channel(m.channel).Message(m.payload).Build())
		} else {
			commands = append(commands, b.Publish().Channel(m.channel).Message(m.payload).Build())
		}
	}
	results := s.link.client.DoMulti(onLink(), commands...)
	s.commands = commands
	return results
}

// appendCommand returns the command for an appended message. It fails if the one before in this batch has failed.
func (s *sender) appendCommand(m *message) rueidis.Completed {
	from := source{m.channel, m.call.key.Publisher}
	before := s.before[from]
	s.before[from] = m.call.key.Number
	whole := s.whole
	s.whole = false
	keys := s.shard.keys(m.channel[len(s.shard.prefix):])
	return s.shard.scripts.append.command(s.link.client.B(), whole, keys, m.args(before, s.sharded)...)
}

// report tells what has become of appended messages.
func (s *sender) report(o *outcome) {
	s.whole = s.whole || o.noScript
	if len(o.parked) > 0 {
		s.storing.Store(&o.parkErr)
		s.parkPause = min(max(2*s.parkPause, firstPause), lastPause)
		s.parked = time.After(jitter(s.parkPause))
	} else if len(o.told) > 0 && s.parked == nil {
		s.storing.Store(nil)
		s.parkPause = 0
	}
	for _, one := range o.told {
		one.done(one.at, one.err)
	}
}

// spare drops a large message at which the server has ended the connection several times.
func (s *sender) spare(o *outcome) {
	if !o.lost || len(o.again) == 0 || o.again[0].size() < largeMessage || s.ctx.Err() != nil {
		return
	}
	if s.kills++; s.kills < maxKills {
		return
	}
	first := o.again[0]
	o.again = o.again[1:]
	o.refuse(&first, errKills)
}
