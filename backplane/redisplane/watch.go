package redisplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

const (
	// Without a reason, Sentinels are asked every sentinelEvery, and a cluster every clusterEvery.
	sentinelEvery, clusterEvery = 2 * time.Second, 10 * time.Second
	lookPause                   = 50 * time.Millisecond // at least about half of it is between two questions
	askTimeout                  = time.Second           // of one server
	askStagger                  = 100 * time.Millisecond
)

// watcher finds the servers of a shard: the primary of Sentinels, or those of a cluster.
type watcher struct {
	shard     *shard
	wake      chan struct{}
	sentinels map[string]rueidis.Client // used by run only
	mode      mode                      // used by run only

	mu   sync.Mutex
	hint string // a server that knows more
}

// mode is whether a cluster has sharded channels. The first answer decides: if it changed, machines would not agree.
type mode uint8

const (
	undecided mode = iota
	shardedMode
	plainMode
)

// look makes the watcher look at once. A server that knows more than others, if there is one, is asked first.
func (w *watcher) look(hint string) {
	if hint != "" {
		w.mu.Lock()
		w.hint = hint
		w.mu.Unlock()
	}
	wake(w.wake)
}

// run looks until the context of the shard ends.
func (w *watcher) run() {
	s := w.shard
	every := clusterEvery
	if s.server.kind == sentinel {
		every = sentinelEvery
		w.sentinels = make(map[string]rueidis.Client)
		defer func() {
			for _, c := range w.sentinels {
				c.Close()
			}
		}()
	}
	pause := lookPause
	for {
		p, err := w.find()
		if err != nil {
			s.setFault(explain(err))
			pause = min(2*pause, lastPause)
		} else {
			s.use(p)
			pause = lookPause
		}
		if !w.sleep(pause/2 + jitter(pause)) {
			return
		}
		if err != nil {
			continue
		}
		t := time.NewTimer(every)
		select {
		case <-w.wake:
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
		t.Stop()
	}
}

func (w *watcher) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.shard.ctx.Done():
		return false
	}
}

func (w *watcher) find() (plan, error) {
	if w.shard.server.kind == sentinel {
		return w.askSentinels()
	}
	return w.askCluster()
}

// dialing returns options of the client library with the connections of this package, which end with ctx.
func (s server) dialing(ctx context.Context, o rueidis.ClientOption) rueidis.ClientOption {
	o.DialCtxFn = func(call context.Context, to string, _ *net.Dialer, secure *tls.Config) (net.Conn, error) {
		c, _, err := s.dial(ctx, call, to, secure, nil)
		return c, err
	}
	return o
}

// askSentinels asks all Sentinels for the primary. If they do not agree, the majority is right: one that was cut off
// from the others may not know of a failover.
func (w *watcher) askSentinels() (plan, error) {
	s := w.shard
	type answer struct {
		sentinel, primary string
		client            rueidis.Client
		err               error
	}
	all := s.server.option.InitAddress
	answers := make(chan answer, len(all))
	for _, addr := range all {
		client := w.sentinels[addr]
		go func() { // ends with the attempt, which has a timeout
			a := answer{sentinel: addr, client: client}
			if a.client == nil {
				a.client, a.err = rueidis.NewClient(s.server.dialing(s.ctx, s.server.sentinelOptions(addr)))
			}
			if a.err == nil {
				ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
				defer cancel()
				a.primary, a.err = primaryOf(ctx, a.client, s.server.option.Sentinel.MasterSet)
			}
			answers <- a
		}()
	}
	votes := make(map[string]int)
	err := error(errNoPrimary)
	for range all {
		a := <-answers
		switch {
		case a.err == nil:
			votes[a.primary]++
			w.sentinels[a.sentinel] = a.client
			continue
		case a.client != nil:
			a.client.Close()
		}
		delete(w.sentinels, a.sentinel)
		err = a.err
	}
	best := ""
	for addr, n := range votes {
		if n > votes[best] {
			best = addr
		}
	}
	if best == "" {
		return plan{}, err
	}
	return plan{addrs: []string{best}}, nil
}

// primaryOf asks a Sentinel.
func primaryOf(ctx context.Context, c rueidis.Client, name string) (string, error) {
	parts, err := c.Do(ctx, c.B().Arbitrary("SENTINEL", "get-master-addr-by-name", name).Build()).AsStrSlice()
	if rueidis.IsRedisNil(err) || err == nil && len(parts) != 2 {
		return "", errNoPrimary
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(parts[0], parts[1]), nil
}

// askCluster asks servers of the cluster, one after the other, until one answers.
func (w *watcher) askCluster() (plan, error) {
	s := w.shard
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	type answer struct {
		plan
		mode mode
		err  error
	}
	list := w.candidates()
	answers := make(chan answer, len(list))
	asked, err := 0, error(errLayout)
	for next := 0; ; {
		if next < len(list) {
			addr := list[next]
			next++
			asked++
			go func() { // ends with the attempt, which has a timeout
				p, m, err := w.askNode(ctx, addr)
				answers <- answer{p, m, err}
			}()
		}
		t := time.NewTimer(askStagger)
		select {
		case a := <-answers:
			t.Stop()
			if asked--; a.err == nil && (w.mode == undecided || w.mode == a.mode) {
				w.mode = a.mode
				return a.plan, nil
			}
			err = cmp.Or(a.err, errMode)
			if asked == 0 && next == len(list) {
				return plan{}, err
			}
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return plan{}, s.ctx.Err()
		}
	}
}

// candidates returns the servers to be asked, the best first.
func (w *watcher) candidates() []string {
	w.mu.Lock()
	hint := w.hint
	w.hint = ""
	w.mu.Unlock()
	var list []string
	w.shard.mu.Lock()
	for _, n := range w.shard.nodes {
		list = append(list, n.addr)
	}
	w.shard.mu.Unlock()
	for _, addr := range w.shard.server.option.InitAddress {
		if !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if hint != "" {
		list = slices.Insert(list, 0, hint)
	}
	return list
}

// askNode asks a server of the cluster for the plan, and whether it has sharded channels. If it does not, every server
// passes on all messages, but not reliably. A topic is at the server of its slot all the same.
func (w *watcher) askNode(ctx context.Context, addr string) (plan, mode, error) {
	s := w.shard
	c, err := rueidis.NewClient(s.server.dialing(ctx, s.server.options(addr)))
	if err != nil {
		return plan{}, undecided, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m := shardedMode
	probe := c.Do(ctx, c.B().Arbitrary("SPUBLISH").Build()).Error() // without its arguments, it does nothing
	switch text := reply(probe); {
	case text == "":
		return plan{}, undecided, cmp.Or(probe, errLost)
	case strings.HasPrefix(text, "unknown command"):
		m = plainMode
	}
	p, err := parseSlots(c.Do(ctx, c.B().Arbitrary("CLUSTER", "SLOTS").Build()), addr)
	p.sharded = m == shardedMode
	return p, m, err
}
