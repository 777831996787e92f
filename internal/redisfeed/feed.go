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
	// MaxEntries is the largest number of entries in a Feed. Those that expire first are removed to make room.
	MaxEntries = 100_000
	// MaxEntry is the largest size of an entry in bytes.
	MaxEntry = 16 << 10
	// batchBytes is the size of a batch from which on it gets no further entries.
	batchBytes = 256 << 10
)

// ErrUnannounced means that an entry is stored but was not announced: subscribers will find it at their next check.
var ErrUnannounced = errors.New("session: stored, but not announced")

// errFull means that more entries must be retained than a feed can store.
var errFull = fmt.Errorf("session: more than %d entries: those that expire first are not stored", MaxEntries)

// Feed is a list of entries that machines that share a Redis publish to each other. A subscriber receives entries at
// once, and, if it comes later, until they expire. It is safe for concurrent use.
//
// The channel is not sharded: in a cluster, every server passes on its messages, whichever fails. This costs little, as
// entries are few.
type Feed struct {
	conn *redisconn.Conn
	key  string // of the stored entries, and of the channel
	mark string // of a random mark that changes with them
	keep redisconn.Script

	mu   sync.Mutex
	owes bool          // an entry could not be stored: the subscriber stores it
	wake chan struct{} // receives when the subscriber must check at once
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

// Close closes the connection.
func (f *Feed) Close() error { return f.conn.Close() }

// scriptKeep stores entries. It has KEYS: entries, mark. ARGV: MaxEntries, a new mark, then expiry (ms) and entry for
// each. It removes expired entries first, which needs no memory: Redis then allows the other writes even if it is full.
// It writes the mark before the entries: without the permission for that, it writes nothing. Without entries it changes
// nothing, and fails if it would fail with entries.
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

// kept is an entry to be stored.
type kept struct {
	entry string
	until int64 // ms
}

// Publish sends an entry to all subscribers, including those that come before until. If until is zero, the entry is
// only announced; otherwise it is stored first. Publish fails with session.ErrTooLarge, with session.ErrUnavailable, or
// with ErrUnannounced if the entry is stored nevertheless.
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

// announce sends a message to the subscribers of the channel. A message without a colon is not an entry.
func (f *Feed) announce(ctx context.Context, message string) error {
	return f.conn.Publish(ctx, f.key, message)
}

// store stores entries. Without entries, it tests whether it could.
func (f *Feed) store(ctx context.Context, list ...kept) error {
	args := []string{strconv.Itoa(MaxEntries), strconv.FormatUint(rand.Uint64(), 36)}
	for _, one := range list {
		args = append(args, strconv.FormatInt(one.until, 10), one.entry)
	}
	_, err := f.conn.Run(ctx, f.keep.Call([]string{f.key, f.mark}, args...))
	return err
}

// storeAll stores any number of entries, in batches.
func (f *Feed) storeAll(ctx context.Context, list []kept) error {
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && n < session.MaxBatch && size < batchBytes {
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

// Check makes the subscriber check the feed at once, as entries may have been missed.
func (f *Feed) Check() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// settle reports whether an entry could not be stored since the last call.
func (f *Feed) settle() (owed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	owed, f.owes = f.owes, false
	return owed
}

// owe makes the next settle report true.
func (f *Feed) owe() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owes = true
}
