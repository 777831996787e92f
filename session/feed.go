package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// MaxFeed is how many entries a Feed keeps; those that are over first make room.
	MaxFeed = 100_000
	// MaxFeedEntry is how long an entry may be, in bytes.
	MaxFeedEntry = 16 << 10
	// feedRead is how often what is kept is looked at again, in case that something was missed.
	feedRead = 10 * time.Second
	// feedPage is how many entries are read at once.
	feedPage = 1000
)

// Feed is what the machines that share a Redis tell each other: entries that all who listen hear, and those who come
// later, too, until their time is over. Any goroutine. The channel is a plain one, not a shard's: any node of a
// cluster serves who listens, whichever moves or fails, and entries are few.
type Feed struct {
	redis   *Redis
	key     string // of the entries that are kept, and of the channel
	mark    string // of what tells one state of them from another
	publish script
}

// Feed returns the feed of a name.
func (r *Redis) Feed(name string) *Feed {
	key := r.prefix + "{feed:" + name + "}"
	return &Feed{redis: r, key: key, mark: key + ":mark", publish: newScript(scriptPublish)}
}

// scriptPublish: KEYS the entries, the mark; ARGV entry, until (ms; 0 is not kept), most, a new mark. Who listens
// hears it in any case. The first write needs no memory: then Redis takes the rest even if it is full. Entries whose
// time is over go.
const scriptPublish = `
redis.call('PUBLISH', KEYS[1], ARGV[2] .. ':' .. ARGV[1])
if ARGV[2] == '0' then return 1 end
local ms = math.floor(now / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', str(ms))
if tonumber(ARGV[2]) <= ms then return 1 end
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
local last = str(tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]))
redis.call('PEXPIREAT', KEYS[1], last)
redis.call('SET', KEYS[2], ARGV[4])
redis.call('PEXPIREAT', KEYS[2], last)
return 1
`

// Publish tells an entry to all who follow, and to those who will before until, which may be zero. It fails with
// ErrTooLarge and ErrUnavailable.
func (f *Feed) Publish(ctx context.Context, entry []byte, until time.Time) error {
	if len(entry) > MaxFeedEntry {
		return fmt.Errorf("%w: an entry of %d bytes, the limit is %d", ErrTooLarge, len(entry), MaxFeedEntry)
	}
	at := "0"
	if !until.IsZero() {
		at = strconv.FormatInt(max(until.UnixMilli(), 1), 10)
	}
	_, err := f.redis.call(ctx, run{f.publish, []string{f.key, f.mark}, []string{
		string(entry), at, strconv.Itoa(MaxFeed), strconv.FormatUint(rand.Uint64(), 36),
	}})
	return err
}

// follower is one who follows.
type follower struct {
	*Feed
	heard func(entry []byte)
	known map[[sha256.Size]byte]int64 // entries that are kept, and until when (ms)
	seen  string                      // the mark of what was read last
}

// Follow calls heard with the entries that are kept and those that come, one after the other, until stop is closed.
// heard may block. One that is kept is heard once, unless it is published again for longer. What comes while Redis is
// away, and is not kept, is missed.
func (f *Feed) Follow(stop <-chan struct{}, heard func(entry []byte)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with Follow
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	l := &follower{Feed: f, heard: heard, known: make(map[[sha256.Size]byte]int64)}
	for pause := redisFirstPause; ctx.Err() == nil; pause = min(2*pause, redisLastPause) {
		if l.listen(ctx) {
			pause = redisFirstPause
		}
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// listen hears entries until the connection is lost. It says whether there was one.
func (l *follower) listen(ctx context.Context) (begun bool) {
	c, err := l.redis.conn()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	entries, joined, ended := make(chan string), make(chan struct{}, 1), make(chan struct{})
	go func() { // ends with the subscription
		defer close(ended)
		l.subscribe(ctx, c, entries, joined)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	select {
	case <-joined: // from here on, nothing comes unheard
	case <-ended:
		return false
	}
	if l.read(ctx, c) != nil {
		return false
	}
	tick := time.NewTicker(feedRead)
	defer tick.Stop()
	for {
		select {
		case e := <-entries:
			l.take(e)
		case <-tick.C:
			if l.read(ctx, c) != nil {
				return true
			}
		case <-ended:
			return true
		}
	}
}

// subscribe passes on what comes on the channel until the connection is lost. It has a connection of its own: who
// listens slowly holds nothing else up.
func (l *follower) subscribe(ctx context.Context, c rueidis.Client, entries chan<- string, joined chan<- struct{}) {
	own, release := c.Dedicate()
	defer release()
	defer own.Close()
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) {
		select {
		case joined <- struct{}{}:
		default:
		}
	})
	command := own.B().Subscribe().Channel(l.key).Build()
	_ = own.Receive(ctx, command, func(m rueidis.PubSubMessage) { // whatever its reason to end, it is tried again
		select {
		case entries <- m.Message:
		case <-ctx.Done():
		}
	})
}

var errFeedScan = errors.New("session: Redis: a scan that does not end")

// read hears the entries that are kept, unless they are those that it has read before.
func (l *follower) read(ctx context.Context, c rueidis.Client) error {
	ask := func(command rueidis.Completed) rueidis.RedisResult {
		ctx, cancel := context.WithTimeout(ctx, l.redis.timeout)
		defer cancel()
		return c.Do(ctx, command)
	}
	mark, err := ask(c.B().Get().Key(l.mark).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	if mark != "" && mark == l.seen {
		return nil
	}
	// A scan has all that is there from its beginning to its end, in parts that hold nobody up.
	cursor := uint64(0)
	for range 10 * MaxFeed / feedPage {
		page, err := ask(c.B().Zscan().Key(l.key).Cursor(cursor).Count(feedPage).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page.Elements); i += 2 {
			if until, err := strconv.ParseFloat(page.Elements[i+1], 64); err == nil {
				l.keep(page.Elements[i], int64(until))
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			l.seen = mark
			return nil
		}
	}
	return errFeedScan
}

// take hears what came on the channel: until, a colon, the entry.
func (l *follower) take(message string) {
	head, entry, ok := strings.Cut(message, ":")
	until, err := strconv.ParseInt(head, 10, 64)
	switch {
	case !ok || err != nil: // it is no entry
	case until == 0:
		l.heard([]byte(entry))
	default:
		l.keep(entry, until)
	}
}

// keep hears an entry that is kept, if it was not heard before.
func (l *follower) keep(entry string, until int64) {
	sum, now := sha256.Sum256([]byte(entry)), time.Now().UnixMilli()
	if until <= now || l.known[sum] >= until {
		return
	}
	if len(l.known) >= 2*MaxFeed {
		for sum, until := range l.known {
			if until <= now {
				delete(l.known, sum)
			}
		}
		if len(l.known) >= 2*MaxFeed {
			clear(l.known) // they are heard again
		}
	}
	l.known[sum] = until
	l.heard([]byte(entry))
}
