package redisplane

import (
	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// maxQuestions is the number of questions that wait for a server, and atOnce of those in a round trip: an answer may
	// be as large as a page.
	maxQuestions, atOnce = 10_000, 8
)

// question is a call of Read or Renew.
type question struct {
	script *script
	keys   [2]string
	args   []string
	done   func(backplane.Page, error)
}

// ask queues a question for the server of a channel.
func (p *publisher) ask(channel string, q question) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.layout.node(channel)
	switch {
	case !n.asking:
		return as(backplane.ErrUnavailable, errConnecting)
	case len(n.questions) >= maxQuestions:
		return backplane.ErrOverloaded
	}
	n.questions = append(n.questions, q)
	wake(n.wakeAsk)
	return nil
}

// takeQuestions returns the next questions to a node.
func (p *publisher) takeQuestions(n *node) []question {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := min(len(n.questions), atOnce)
	list := n.questions[:k:k]
	if n.questions = n.questions[k:]; len(n.questions) == 0 {
		n.questions = nil
	}
	return list
}

// ask asks what is in the list of questions, until the node is not used any more.
func (n *node) ask() {
	for n.ctx.Err() == nil {
		select {
		case <-n.wakeAsk:
		case <-n.ctx.Done():
		}
		for list := n.shard.out.takeQuestions(n); len(list) > 0; list = n.shard.out.takeQuestions(n) {
			n.answer(list)
		}
	}
	n.shard.out.mu.Lock()
	n.asking = false
	n.shard.out.mu.Unlock()
	for list := n.shard.out.takeQuestions(n); len(list) > 0; list = n.shard.out.takeQuestions(n) {
		n.answer(list)
	}
}

// answer answers questions in one round trip, or two if the server does not know a script.
func (n *node) answer(list []question) {
	n.mu.Lock()
	l := n.link
	n.mu.Unlock()
	if l == nil || n.ctx.Err() != nil {
		for _, q := range list {
			q.done(backplane.Page{}, as(backplane.ErrUnavailable, errLost))
		}
		return
	}
	results := l.ask(list, false)
	var again []question
	for i, r := range results {
		if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
			again = append(again, list[i])
		}
	}
	if len(again) > 0 {
		more := l.ask(again, true)
		for i, r := range results {
			if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
				results[i], more = more[0], more[1:]
			}
		}
	}
	for i, r := range results {
		n.report(list[i], r)
	}
}

// ask sends questions.
func (l *link) ask(list []question, whole bool) []rueidis.RedisResult {
	commands := make(rueidis.Commands, len(list))
	for i, q := range list {
		commands[i] = q.script.command(l.client.B(), whole, q.keys, q.args...)
	}
	return l.client.DoMulti(onLink(), commands...)
}

// report calls done.
func (n *node) report(q question, r rueidis.RedisResult) {
	err := r.Error()
	if err == nil {
		p, err := pageOf(r)
		if err != nil {
			p, err = backplane.Page{}, as(backplane.ErrUnavailable, err)
		}
		q.done(p, err)
		return
	}
	kind := backplane.ErrUnavailable
	if hopeless(err) {
		kind = backplane.ErrRefused
	}
	if addr := movedTo(err); addr != "" {
		n.shard.watch.look(addr)
	}
	q.done(backplane.Page{}, as(kind, err))
}
