package session

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

const (
	// MaxFeed is how many entries a Feed keeps; the next ones are refused with ErrFull.
	MaxFeed = 100_000
	// feedRead is how often the entries that are kept are read again, in case that one was missed.
	feedRead = 10 * time.Second
)

// Feed is what the machines that share a Redis tell each other: entries that all who listen hear, and those who come
// later, too, until their time is over. Any goroutine.
type Feed struct {
	redis *Redis
	key   string // of the entries that are kept, and of the channel
}

// Feed returns the feed of a name.
func (r *Redis) Feed(name string) *Feed {
	return &Feed{redis: r, key: r.prefix + "{feed:" + name + "}"}
}

// scriptPublish: KEYS the entries; ARGV entry, until (s; 0 is not kept), most. Entries whose time is over go.
const scriptPublish = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. time[1])
if ARGV[2] ~= '0' then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
  redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
  redis.call('EXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] + 1)
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
`

// Publish tells an entry to all who follow, and to those who will before until, which may be zero. It fails with
// ErrUnavailable and ErrFull.
func (f *Feed) Publish(ctx context.Context, entry []byte, until time.Time) error {
	at := "0"
	if !until.IsZero() {
		at = strconv.FormatInt(until.Unix()+1, 10)
	}
	res, err := f.redis.call(ctx, run{
		newScript(scriptPublish), []string{f.key}, []string{string(entry), at, strconv.Itoa(MaxFeed)},
	})
	if err != nil {
		return err
	}
	if n, err := res.AsInt64(); err != nil || n == 0 {
		return fmt.Errorf("%w: %d entries", ErrFull, MaxFeed)
	}
	return nil
}

// follower is one who follows.
type follower struct {
	*Feed
	heard func(entry []byte)
	known map[[32]byte]time.Time // entries that are kept, and until when they are remembered
}

// Follow calls heard with the entries that are kept and those that come, one after the other, until stop is closed. One
// that is kept is heard once. What comes while Redis is away, and is not kept, is missed.
func (f *Feed) Follow(stop <-chan struct{}, heard func(entry []byte)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with stop
		<-stop
		cancel()
	}()
	l := &follower{Feed: f, heard: heard, known: make(map[[32]byte]time.Time)}
	for pause := redisFirstPause; ctx.Err() == nil; pause = min(2*pause, redisLastPause) {
		began := time.Now()
		l.listen(ctx)
		if time.Since(began) > redisLastPause {
			pause = redisFirstPause
		}
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// listen hears entries until the connection is lost.
func (l *follower) listen(ctx context.Context) {
	c, err := l.redis.conn()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries := make(chan []byte, feedQueue)
	ended := make(chan struct{})
	go func() { // ends with the subscription
		defer close(ended)
		_ = c.Receive(ctx, c.B().Subscribe().Channel(l.key).Build(), func(m rueidis.PubSubMessage) {
			select {
			case entries <- []byte(m.Message):
			case <-ctx.Done():
			}
		})
	}()
	tick := time.NewTicker(feedRead)
	defer tick.Stop()
	// The subscription may begin a moment later than this: what comes between is read at the first tick.
	l.read(ctx, c)
	for {
		select {
		case e := <-entries:
			l.hear(e)
		case <-tick.C:
			l.read(ctx, c)
		case <-ended:
			return
		}
	}
}

// feedQueue is how many entries wait for one who follows.
const feedQueue = 256

// read hears the entries that are kept.
func (l *follower) read(ctx context.Context, c rueidis.Client) {
	ctx, cancel := context.WithTimeout(ctx, l.redis.timeout)
	defer cancel()
	now := time.Now()
	list, err := c.Do(ctx, c.B().Zrangebyscore().Key(l.key).Min(strconv.FormatInt(now.Unix(), 10)).Max("+inf").Build()).AsStrSlice()
	if err != nil {
		return
	}
	for _, e := range list {
		l.hear([]byte(e))
	}
	for sum, until := range l.known {
		if now.After(until) {
			delete(l.known, sum)
		}
	}
}

// hear passes on an entry that was not heard before.
func (l *follower) hear(entry []byte) {
	sum := sha256.Sum256(entry)
	_, known := l.known[sum]
	l.known[sum] = time.Now().Add(3 * feedRead)
	if !known {
		l.heard(entry)
	}
}
