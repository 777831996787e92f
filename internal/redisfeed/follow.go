package redisfeed

import (
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
)

const (
	// feedRead is how often what is kept is looked at again while all is well, in case that something was missed, and
	// feedRetry the same while it is not.
	feedRead, feedRetry = 10 * time.Second, time.Second
	// Pauses between attempts to listen, of which a random part is taken.
	firstPause, lastPause = 100 * time.Millisecond, 10 * time.Second
	// feedPage is how many entries are read at once.
	feedPage = 1000
)

// Follower is one who follows a Feed. Heard is required. All are called by one goroutine, and what comes meanwhile
// waits.
type Follower struct {
	// Heard takes entries: those that are kept and were not heard before, many at once, or one that has just come.
	Heard func(entries [][]byte)
	// Kept are entries that must be kept, and until when: after each reading, those that are missing are stored again,
	// as Redis may have been emptied or replaced. Nil is nothing.
	Kept func() iter.Seq2[[]byte, time.Time]
	// State is told how the feed is whenever it was looked at. Nil is nobody.
	State func(State)
}

// State is how a Feed is for one who follows it. Errors are nil where all is well.
type State struct {
	// Current says that what is kept was read to its end, and that nothing can have been missed since.
	Current bool
	// Read is why what is kept cannot be read, Listen why nothing is heard at once, Store why nothing can be kept, and
	// Announce why nothing can be announced.
	Read, Listen, Store, Announce error
}

// Err is what is wrong, the worst first; nil if nothing is.
func (s State) Err() error {
	for _, one := range []struct {
		what string
		err  error
	}{
		{"cannot be read", s.Read},
		{"cannot be stored", s.Store},
		{"are not announced", s.Announce},
		{"are not heard at once", s.Listen},
	} {
		if one.err != nil {
			return &feedError{one.what, one.err}
		}
	}
	return nil
}

// feedError is what is wrong with a feed.
type feedError struct {
	what string
	err  error
}

// Error is the text.
func (e *feedError) Error() string { return e.what + ": " + e.err.Error() }

// Unwrap is the cause.
func (e *feedError) Unwrap() error { return e.err }

// follower is a Follower at work.
type follower struct {
	*Feed
	Follower
	state State
	known map[[sha256.Size]byte]int64 // entries that are kept, and until when (ms)
	seen  string                      // the mark of what was read last
	count int64                       // how many entries there were
	told  bool                        // State knows of state.Current
}

// Follow tells a Follower of the entries that are kept and of those that come, until stop is closed. One that is kept
// is heard once, unless it is published again for longer. What comes while Redis is away, and is not kept, is missed.
// Where the channel may not be listened to, what is kept is heard within a second or so. A Feed has one follower.
func (f *Feed) Follow(stop <-chan struct{}, to Follower) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with Follow
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	l := &follower{Feed: f, Follower: to, known: make(map[[sha256.Size]byte]int64)}
	l.state.Listen = errFeedBegins
	entries, listening, ended := make(chan string), make(chan error), make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		l.listen(ctx, entries, listening)
	}()
	defer func() { <-ended }()
	next := time.NewTimer(feedRetry)
	defer next.Stop()
	for {
		select {
		case e := <-entries:
			l.take(e)
			continue
		case err := <-listening:
			if l.state.Listen = err; err != nil {
				l.state.Current = false // what comes is unheard
			}
		case <-l.wake:
			l.state.Current = false
		case <-next.C:
		case <-ctx.Done():
			return
		}
		l.look(ctx)
		pause := feedRead
		if l.state.Err() != nil {
			pause = feedRetry/2 + rand.N(feedRetry)
		}
		next.Reset(pause)
	}
}

// errFeedBegins says that nobody has listened yet.
var errFeedBegins = errors.New("session: not listening yet")

// look reads what is kept, stores what is missing, and sees whether all that may be needed is permitted.
func (l *follower) look(ctx context.Context) {
	if l.told && !l.state.Current {
		l.tell(ctx) // before the reading, which may take its time
	}
	owed := l.settle()
	sums, err := l.read(ctx, owed)
	if l.state.Read, l.state.Current = err, err == nil; err == nil {
		l.state.Store = l.restore(ctx, sums)
		l.state.Announce = l.announce(ctx, "")
	}
	if owed && errors.Join(l.state.Read, l.state.Store) != nil {
		l.owe()
	}
	l.tell(ctx)
}

// tell tells the state.
func (l *follower) tell(ctx context.Context) {
	if l.told = l.state.Current; l.State != nil && ctx.Err() == nil {
		l.State(l.state)
	}
}

// restore stores those entries again that must be kept and are not among those that were read. Nil sums are those of
// the last time: nothing is missing.
func (l *follower) restore(ctx context.Context, sums map[[sha256.Size]byte]int64) error {
	var missing []kept
	full := false
	if sums != nil && l.Kept != nil {
		for entry, until := range l.Kept() {
			at := until.UnixMilli()
			if at <= time.Now().UnixMilli() || sums[sha256.Sum256(entry)] >= at {
				continue
			}
			if full = len(sums)+len(missing) >= MaxEntries; full {
				break
			}
			missing = append(missing, kept{string(entry), at})
		}
	}
	err := l.store(ctx)
	if err == nil {
		err = l.storeAll(ctx, missing)
	}
	if err != nil {
		l.seen = "" // it is read again, and what is missing found again
		return err
	}
	for _, one := range missing {
		l.known[sha256.Sum256([]byte(one.entry))] = one.until
	}
	if full {
		return errFeedFull
	}
	return nil
}

// listen passes on what comes on the channel, and tells when it begins to, and why it does not. It ends with ctx.
func (l *follower) listen(ctx context.Context, entries chan<- string, listening chan<- error) {
	tell := func(err error) {
		select {
		case listening <- err:
		case <-ctx.Done():
		}
	}
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		c, err := l.conn.Client()
		if err == nil {
			err = l.subscribe(ctx, c, entries, func() {
				pause = firstPause
				tell(nil)
			})
		}
		if err == nil {
			err = errFeedEnded
		}
		tell(err)
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// errFeedEnded says that Redis has ended the subscription.
var errFeedEnded = errors.New("session: Redis has ended the subscription")

// subscribe passes on what comes on the channel until the connection is lost. It has a connection of its own: who
// listens slowly holds nothing else up.
func (l *follower) subscribe(ctx context.Context, c rueidis.Client, entries chan<- string, joined func()) error {
	own, release := c.Dedicate()
	defer release()
	defer own.Close()
	began := make(chan struct{}, 1)
	receiving, cancel := context.WithCancel(rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) {
		select {
		case began <- struct{}{}:
		default:
		}
	}))
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends with the subscription
		ended <- own.Receive(receiving, own.B().Subscribe().Channel(l.key).Build(), func(m rueidis.PubSubMessage) {
			select {
			case entries <- m.Message:
			case <-receiving.Done():
			}
		})
	}()
	for {
		select {
		case <-began: // from here on, nothing comes unheard
			joined()
		case err := <-ended:
			return redisconn.Error(err)
		}
	}
}

var errFeedScan = errors.New("session: Redis: a scan that does not end")

// read hears the entries that are kept, unless they are those that it has read before, and returns which they are.
func (l *follower) read(ctx context.Context, again bool) (map[[sha256.Size]byte]int64, error) {
	c, err := l.conn.Client()
	if err != nil {
		return nil, err
	}
	ask := func(command rueidis.Completed) rueidis.RedisResult {
		ctx, cancel := context.WithTimeout(ctx, l.conn.Timeout())
		defer cancel()
		return c.Do(ctx, command)
	}
	mark, err := ask(c.B().Get().Key(l.mark).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, redisconn.Error(err)
	}
	count, err := ask(c.B().Zcard().Key(l.key).Build()).AsInt64()
	if err != nil {
		return nil, redisconn.Error(err)
	}
	if evicted := count == 0 && l.count > 0; mark != "" && mark == l.seen && !evicted && !again {
		return nil, nil
	}
	// A scan has all that is there from its beginning to its end, in parts that hold nobody up.
	sums := make(map[[sha256.Size]byte]int64)
	cursor := uint64(0)
	for range 10 * MaxEntries / feedPage {
		page, err := ask(c.B().Zscan().Key(l.key).Cursor(cursor).Count(feedPage).Build()).AsScanEntry()
		if err != nil {
			return nil, redisconn.Error(err)
		}
		var fresh [][]byte
		for i := 0; i+1 < len(page.Elements); i += 2 {
			until, err := strconv.ParseFloat(page.Elements[i+1], 64)
			if err != nil {
				continue
			}
			sum := sha256.Sum256([]byte(page.Elements[i]))
			sums[sum] = int64(until)
			if l.isNew(sum, int64(until)) {
				fresh = append(fresh, []byte(page.Elements[i]))
			}
		}
		if len(fresh) > 0 {
			l.Heard(fresh)
		}
		if cursor = page.Cursor; cursor == 0 {
			l.seen, l.count = mark, count
			return sums, nil
		}
	}
	return nil, errFeedScan
}

// take hears what came on the channel: until, a colon, the entry.
func (l *follower) take(message string) {
	head, entry, ok := strings.Cut(message, ":")
	until, err := strconv.ParseInt(head, 10, 64)
	switch {
	case !ok || err != nil: // it is no entry
	case until == 0, l.isNew(sha256.Sum256([]byte(entry)), until):
		l.Heard([][]byte{[]byte(entry)})
	}
}

// isNew says whether an entry that is kept was not heard before, and takes it for heard from now on.
func (l *follower) isNew(sum [sha256.Size]byte, until int64) bool {
	now := time.Now().UnixMilli()
	if until <= now || l.known[sum] >= until {
		return false
	}
	if len(l.known) >= 2*MaxEntries {
		for sum, until := range l.known {
			if until <= now {
				delete(l.known, sum)
			}
		}
		if len(l.known) >= 2*MaxEntries {
			clear(l.known) // they are heard again
		}
	}
	l.known[sum] = until
	return true
}
