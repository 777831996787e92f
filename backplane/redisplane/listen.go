package redisplane

import (
	"cmp"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
)

const (
	maxTopic = backplane.MaxTopic
	// A command has at most commandTopics topics, and at most roundTopics change in a round trip.
	commandTopics, roundTopics = 1000, 16_000
)

// listen keeps a connection for subscriptions to the node, until that is not used any more.
func (n *node) listen() {
	pause := firstPause
	for {
		l := n.waitLink()
		if l == nil {
			return
		}
		began := time.Now()
		err := n.listenOn(l)
		n.listening.Store(&err)
		n.shard.feed.flush()
		n.shard.watch.look("")
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		n.wait(pause)
		pause = min(2*pause, lastPause)
	}
}

// listenOn makes a connection and subscribes until it is lost. It returns why.
func (n *node) listenOn(link *link) error {
	own, release := link.client.Dedicate()
	defer release()
	c := link.takeSub()
	if c == nil {
		err := n.check(own)
		own.Close()
		if err == nil {
			err = explain(errLost)
		}
		return err
	}
	l := &listener{node: n, own: own}
	ended := own.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: l.message, OnSubscription: l.subscription})
	err := l.run(ended)
	c.release()
	if l.ended == nil { // the connection has a reader until then
		l.ended = <-ended
	}
	own.Close()
	n.shard.in.lost(n, err)
	return err
}

// listener listens on one connection.
type listener struct {
	*node
	own   rueidis.DedicatedClient
	ended error
	// again is what to look at again: topics that a node has refused to subscribe to for now, and those that are not
	// permitted.
	again, refused     []*topic
	retryAt, refusedAt <-chan time.Time
	pause              time.Duration
}

// message takes a message. The reader of the connection calls it.
func (l *listener) message(m rueidis.PubSubMessage) {
	if len(m.Channel) < len(l.shard.prefix) {
		return
	}
	if payload, at, ok := unmark(m.Message); ok {
		l.shard.feed.message(m.Channel[len(l.shard.prefix):], payload, at)
	}
}

// subscription takes an answer to a command. The reader of the connection calls it.
func (l *listener) subscription(s rueidis.PubSubSubscription) {
	if len(s.Channel) < len(l.shard.prefix) {
		return
	}
	begins := s.Kind == "subscribe" || s.Kind == "ssubscribe"
	if !l.shard.in.confirm(l.node, s.Channel[len(l.shard.prefix):], begins) {
		l.shard.watch.look(l.addr) // which knows where the topic is now
	}
}

// run subscribes until the connection is lost, and returns why.
func (l *listener) run(ended <-chan error) error {
	if err := l.check(l.own); err != nil {
		return err
	}
	l.shard.in.setRefusal(nil)
	l.shard.in.connected(l.node)
	l.listening.Store(nil)
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-l.wakeListen:
			if err := l.round(); err != nil {
				return err
			}
		case <-l.retryAt:
			list := l.again
			l.again, l.retryAt = nil, nil
			l.shard.in.retry(l.node, list)
		case <-l.refusedAt:
			list := l.refused
			l.refused, l.refusedAt = nil, nil
			l.shard.in.setRefusal(nil)
			l.shard.in.retry(l.node, list)
		case <-ping.C:
			if err := l.check(l.own); err != nil {
				return err
			}
		case l.ended = <-ended:
			return explain(cmp.Or(l.ended, errLost))
		case <-l.ctx.Done():
			return explain(l.ctx.Err())
		}
	}
}

// round changes subscriptions. It returns why the connection is lost.
func (l *listener) round() error {
	subscribe, unsubscribe := l.shard.in.take(l.node, roundTopics)
	l.shard.feed.flush()
	if err := l.ask(unsubscribe, false, commandTopics); err != nil {
		return err
	}
	return l.ask(subscribe, true, commandTopics)
}

// ask sends the commands for topics, with at most size topics each.
func (l *listener) ask(list []*topic, begin bool, size int) error {
	if len(list) == 0 {
		return nil
	}
	groups := l.group(list, size)
	commands := make(rueidis.Commands, len(groups))
	for i, group := range groups {
		commands[i] = l.command(group, begin)
	}
	results := l.own.DoMulti(onLink(), commands...)
	var apart []*topic
	failed := false
	for i, r := range results {
		err := r.Error()
		switch {
		case err == nil:
		case reply(err) == "":
			return explain(err)
		case hopeless(err) && len(groups[i]) > 1: // one of them is not permitted: which?
			apart = append(apart, groups[i]...)
		case hopeless(err):
			l.refuse(groups[i], err)
		default:
			failed = true
			l.fail(groups[i], err)
		}
	}
	if !failed && len(list) > 0 {
		l.pause = 0
	}
	return l.ask(apart, begin, 1)
}

// refuse looks at topics again after a long time.
func (l *listener) refuse(list []*topic, err error) {
	l.shard.in.failed(l.node, list)
	l.shard.in.setRefusal(explain(err))
	if l.refused = append(l.refused, list...); l.refusedAt == nil {
		l.refusedAt = time.After(refusedHold)
	}
}

// fail looks at topics again after a pause.
func (l *listener) fail(list []*topic, err error) {
	l.shard.in.failed(l.node, list)
	l.shard.watch.look(movedTo(err))
	if l.again = append(l.again, list...); l.retryAt == nil {
		l.pause = min(max(2*l.pause, firstPause), lastPause)
		l.retryAt = time.After(jitter(l.pause))
	}
}

// group splits topics into the lists of commands. Those of a command for sharded channels are in one slot.
func (l *listener) group(list []*topic, size int) (groups [][]*topic) {
	if !l.sharded {
		for len(list) > size {
			groups = append(groups, list[:size:size])
			list = list[size:]
		}
		return append(groups, list)
	}
	open := make(map[uint16]int) // the latest group of a slot
	for _, t := range list {
		of := slot(l.shard.prefix + t.name)
		i, ok := open[of]
		if !ok || len(groups[i]) == size {
			i = len(groups)
			open[of] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// command returns the command for topics.
func (l *listener) command(list []*topic, begin bool) rueidis.Completed {
	channels := make([]string, len(list))
	for i, t := range list {
		channels[i] = l.shard.prefix + t.name
	}
	b := l.own.B()
	switch {
	case begin && l.sharded:
		return b.Ssubscribe().Channel(channels...).Build()
	case begin:
		return b.Subscribe().Channel(channels...).Build()
	case l.sharded:
		return b.Sunsubscribe().Channel(channels...).Build()
	default:
		return b.Unsubscribe().Channel(channels...).Build()
	}
}
