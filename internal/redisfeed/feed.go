// Package redisfeed tells the machines that share a Redis what others have published, now and until it expires.
package redisfeed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/redisconn"
	"github.com/expedite-go/expedite/session"
)

const (
	// MaxEntries is how many entries a Feed keeps; those that are over first make room.
	MaxEntries = 100_000
	// MaxEntry is how long an entry may be, in bytes.
	MaxEntry = 16 << 10
	// feedBatch bounds what one script writes, in bytes.
	feedBatch = 256 << 10
)

// ErrUnannounced says that an entry is stored and was not announced: those who follow find it when they read next.
var ErrUnannounced = errors.New("session: stored, but not announced")

// errFeedFull says that more entries are in force than a feed keeps.
var errFeedFull = fmt.Errorf("session: more than %d entries: those that are over first are not kept", MaxEntries)

// Feed is what the machines that share a Redis tell each other: entries that all who listen hear, and those who come
// later, too, until their time is over. Any goroutine. The channel is a plain one, not a shard's: any node of a
// cluster serves who listens, whichever moves or fails, and entries are few.
type Feed struct {
	conn *redisconn.Conn
	key  string // of the entries that are kept, and of the channel
	mark string // of what tells one state of them from another
	keep redisconn.Script

	mu   sync.Mutex
	owes bool          // an entry could not be stored
	wake chan struct{} // told when the follower is to look at once
}

// Open returns the feed of a name in the Redis of a URL, see [redisconn.Open], with a connection of its own. It fails
// only if the URL is invalid. A timeout of 0 means [redisconn.DefaultTimeout]. Close it.
func Open(rawURL, name string, timeout time.Duration) (*Feed, error) {
	conn, err := redisconn.Open(rawURL, timeout)
	if err != nil {
		return nil, err
	}
	key := redisconn.DefaultPrefix + "{feed:" + name + "}"
	return &Feed{
		conn: conn, key: key, mark: key + ":mark", keep: redisconn.NewScript(scriptKeep), wake: make(chan struct{}, 1),
	}, nil
}

// Close lets the connection go.
func (f *Feed) Close() error { return f.conn.Close() }

// scriptKeep: KEYS the entries, the mark; ARGV most, a new mark, then until (ms) and entry of each. Entries whose time
// is over go first, which needs no memory: then Redis takes the rest even if it is full. The mark comes before the
// entries: where it may not be written, nothing is. Without entries the script changes nothing, and fails wherever
// one with entries would.
const scriptKeep = `
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function str(n) return string.format('%.0f', n) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', str(ms))
if #ARGV == 2 then
  redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', '1')
  redis.call('ZADD', KEYS[1], 'XX', '0', '')
else
  redis.call('SET', KEYS[2], ARGV[2])
  for i = 3, #ARGV, 2 do
    if tonumber(ARGV[i]) > ms then redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1]) end
  end
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
last = last and str(tonumber(last)) or '1'
redis.call('PEXPIREAT', KEYS[1], last)
redis.call('PEXPIREAT', KEYS[2], last)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[1]) - 1)
return 1
`

// kept is an entry and until when it is kept.
type kept struct {
	entry string
	until int64 // ms
}

// Publish tells an entry to all who follow, and to those who will before until, which may be zero. An entry with an
// until is stored first, and then announced. It fails with ErrTooLarge; ErrUnavailable; and ErrUnannounced if the entry
// is stored all the same.
func (f *Feed) Publish(ctx context.Context, entry []byte, until time.Time) error {
	if len(entry) > MaxEntry {
		return fmt.Errorf("%w: an entry of %d bytes, the limit is %d", session.ErrTooLarge, len(entry), MaxEntry)
	}
	if until.IsZero() {
		return f.announce(ctx, "0:"+string(entry))
	}
	one := kept{string(entry), max(until.UnixMilli(), 1)}
	if err := f.store(ctx, one); err != nil {
		f.mu.Lock()
		f.owes = true
		f.mu.Unlock()
		return err
	}
	if err := f.announce(ctx, strconv.FormatInt(one.until, 10)+":"+one.entry); err != nil {
		return fmt.Errorf("%w: %w", ErrUnannounced, err)
	}
	return nil
}

// announce tells those who listen now. What has no colon is no entry.
func (f *Feed) announce(ctx context.Context, message string) error {
	return f.conn.Publish(ctx, f.key, message)
}

// store keeps entries. Without any it says whether it could.
func (f *Feed) store(ctx context.Context, list ...kept) error {
	args := []string{strconv.Itoa(MaxEntries), strconv.FormatUint(rand.Uint64(), 36)}
	for _, one := range list {
		args = append(args, strconv.FormatInt(one.until, 10), one.entry)
	}
	_, err := f.conn.Run(ctx, f.keep.Call([]string{f.key, f.mark}, args...))
	return err
}

// storeAll keeps any number of entries.
func (f *Feed) storeAll(ctx context.Context, list []kept) error {
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && n < session.MaxBatch && size < feedBatch {
			size += len(list[n].entry)
			n++
		}
		if err := f.store(ctx, list[:n]...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// Look makes the follower read what is kept now: something may have been missed.
func (f *Feed) Look() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// settle says whether an entry could not be stored since the last time.
func (f *Feed) settle() (owed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	owed, f.owes = f.owes, false
	return owed
}

// owe notes that what settle has told of is not done.
func (f *Feed) owe() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owes = true
}
