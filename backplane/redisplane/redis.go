package redisplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/redisconn"
)

// Config configures a Redis. The zero Config uses the defaults.
type Config struct {
	// Prefix is the beginning of all channels, before the database and a colon, and that of all keys of histories, before
	// "history:". It must not contain braces, and must be the same on all machines. Empty means "expedite:".
	Prefix string
	// QueueBytes and QueueMessages limit what waits to be sent to a server. 0 means 16 MiB and 100,000 messages. An empty
	// queue takes any message.
	QueueBytes, QueueMessages int
}

const (
	defaultQueueBytes    = 16 << 20
	defaultQueueMessages = 100_000
)

// Redis is a backplane.Backplane over the publish and subscribe of Redis, of version 6.2 or later, and a
// backplane.History in its streams. Make one with [New].
//
// Redis keeps no published messages: a machine that is not connected misses them, which Receiver.Missing reports.
// Redis ends the connection of a machine that reads too slowly: see client-output-buffer-limit, whose default of 32 MiB
// is less than backplane.MaxPayload. A message that is larger than the limit reaches nobody.
type Redis struct {
	scripts   *scripts
	shards    []*shard
	places    []uint64 // the hashes of their names
	refused   atomic.Uint64
	directory directoryScripts
	tasks     sync.WaitGroup
	cancel    context.CancelFunc

	mu    sync.Mutex
	state atomic.Int32
}

// Values of Redis.state.
const (
	stateNew = iota
	stateStarted
	stateClosed
)

// New returns a Redis with one or more URLs: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path,
// redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It fails if a URL or the prefix
// is invalid, and does not connect.
//
// A cluster uses sharded channels if its servers know them, which are those of Redis 7. All machines must be restarted
// when a cluster has been upgraded to Redis 7.
//
// If there are several URLs, each topic has one of them. The order of URLs does not matter, but all machines must use
// the same addresses. If a server fails, this concerns only its topics.
func New(urls []string, c Config) (*Redis, error) {
	if len(urls) == 0 {
		return nil, errors.New("backplane: Redis: no URL")
	}
	if strings.ContainsAny(c.Prefix, "{}") {
		return nil, errors.New("backplane: Redis: braces in the prefix: they tell a cluster where a channel is")
	}
	if c.Prefix == "" {
		c.Prefix = redisconn.DefaultPrefix
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = defaultQueueBytes
	}
	if c.QueueMessages <= 0 {
		c.QueueMessages = defaultQueueMessages
	}
	r := &Redis{cancel: func() {}, scripts: newScripts(), directory: newDirectoryScripts()}
	for i, one := range urls {
		s, err := newServer(one)
		if err != nil {
			return nil, fmt.Errorf("backplane: Redis: URL %d: %w", i+1, err)
		}
		place := hash(s.name)
		for k, other := range r.places {
			if other == place {
				return nil, fmt.Errorf("backplane: Redis: URLs %d and %d have the same address", k+1, i+1)
			}
		}
		r.places = append(r.places, place)
		r.shards = append(r.shards, newShard(s, c, r.scripts, &r.tasks))
	}
	return r, nil
}

// Start implements backplane.Backplane.
func (r *Redis) Start(to backplane.Receiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Load() != stateNew {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for _, s := range r.shards {
		s.start(ctx, to)
	}
	r.state.Store(stateStarted)
}

// Publish implements backplane.Backplane.
func (r *Redis) Publish(topic string, payload []byte) error {
	err := r.publish(topic, payload)
	if err != nil {
		r.refused.Add(1)
	}
	return err
}

func (r *Redis) publish(topic string, payload []byte) error {
	if err := r.check(topic, len(payload)); err != nil {
		return err
	}
	return r.shard(topic).publish(topic, payload)
}

// check returns why a message cannot be taken.
func (r *Redis) check(topic string, payload int) error {
	switch {
	case r.state.Load() != stateStarted:
		return backplane.ErrClosed
	case len(topic) > backplane.MaxTopic:
		return fmt.Errorf("%w: a topic of %d bytes", backplane.ErrTooLarge, len(topic))
	case payload > backplane.MaxPayload:
		return fmt.Errorf("%w: a payload of %d bytes", backplane.ErrTooLarge, payload)
	}
	return nil
}

// Subscribe implements backplane.Backplane. There is no limit: the caller has to have one. A topic takes about 300
// bytes. Topics that are longer than backplane.MaxTopic are ignored.
func (r *Redis) Subscribe(topics ...string) { r.change(topics, true) }

// Unsubscribe implements backplane.Backplane.
func (r *Redis) Unsubscribe(topics ...string) { r.change(topics, false) }

func (r *Redis) change(topics []string, wanted bool) {
	if r.state.Load() != stateStarted {
		return
	}
	if len(r.shards) == 1 {
		r.shards[0].want(topics, wanted)
		return
	}
	lists := make(map[*shard][]string)
	for _, one := range topics {
		s := r.shard(one)
		lists[s] = append(lists[s], one)
	}
	for s, list := range lists {
		s.want(list, wanted)
	}
}

// Status implements backplane.Backplane.
func (r *Redis) Status() backplane.Status {
	total := backplane.Status{Refused: r.refused.Load()}
	for _, s := range r.shards {
		one := s.status()
		total.Queued += one.Queued
		total.Waiting = max(total.Waiting, one.Waiting)
		total.Published += one.Published
		total.Received += one.Received
		total.Refused += one.Refused
		total.Dropped += one.Dropped
		total.Repeated += one.Repeated
		total.Interrupted += one.Interrupted
		total.Renewed += one.Renewed
		total.Unverified += one.Unverified
		if total.Err == nil {
			total.Err = one.Err
		}
	}
	switch r.state.Load() {
	case stateNew:
		total.Err = errConnecting
	case stateClosed:
		total.Err = backplane.ErrClosed
	}
	return total
}

// Close implements backplane.Backplane. It blocks until a method of the Receiver that was called has returned.
func (r *Redis) Close() error {
	r.mu.Lock()
	r.state.Store(stateClosed)
	cancel := r.cancel
	r.mu.Unlock()
	for _, s := range r.shards {
		s.feed.close()
		s.dir.close()
	}
	cancel()
	r.tasks.Wait()
	return nil
}

// Parts implements backplane.Divided: there is one for each URL.
func (r *Redis) Parts() int { return len(r.shards) }

// Part implements backplane.Divided. A topic is at the server whose hash together with that of the topic is the
// largest. If a server is added or removed, only its own topics move.
func (r *Redis) Part(topic string) int {
	if len(r.shards) == 1 {
		return 0
	}
	of := hash(topic)
	best, most := 0, uint64(0)
	for i, place := range r.places {
		if score := mix(of ^ place); score >= most {
			best, most = i, score
		}
	}
	return best
}

// shard returns where a topic is.
func (r *Redis) shard(topic string) *shard { return r.shards[r.Part(topic)] }

// hash returns the FNV-1a hash of a text, mixed. It never changes: machines of different versions have to agree.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h)
}

// mix distributes the bits of a number: the finalizer of SplitMix64.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// channelPrefix returns the beginning of the channels of a server. Channels do not belong to a database, so their names
// contain it.
func channelPrefix(prefix string, db int) string { return prefix + strconv.Itoa(db) + ":" }

var (
	_ backplane.Backplane = (*Redis)(nil)
	_ backplane.Divided   = (*Redis)(nil)
)
