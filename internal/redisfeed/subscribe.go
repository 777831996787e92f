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
	// checkEvery is the time between two checks of a feed that works, in case an entry was missed. retryEvery is about
	// the time between two checks of one that does not.
	checkEvery, retryEvery = 10 * time.Second, time.Second
	// Pauses between attempts to subscribe to the channel, of which a random part is taken.
	firstPause, lastPause = 100 * time.Millisecond, 10 * time.Second
	// pageSize is the number of entries that are read at once.
	pageSize = 1000
)

// Subscriber receives the entries of a Feed. Receive is required. One goroutine calls all functions, one at a time;
// events wait meanwhile.
type Subscriber struct {
	// Receive gets entries: stored ones that it has not got before, possibly many at once, or one that was just
	// announced.
	Receive func(entries [][]byte)
	// Retained returns the entries that must be stored, and until when. After each check, those that are missing are
	// stored again, as Redis may have been emptied or replaced. Nil means none.
	Retained func() iter.Seq2[[]byte, time.Time]
	// State gets the state of the feed after each check. It may be nil.
	State func(State)
}

// State is the state of a Feed for its subscriber. An error that is nil means that there is no such problem.
type State struct {
	// Current reports whether all stored entries were read, and none can have been missed since.
	Current bool
	// Read is why stored entries cannot be read, Listen why announcements are not received, Store why entries cannot be
	// stored, and Announce why they cannot be announced.
	Read, Listen, Store, Announce error
}

// Err returns the most severe problem, or nil if there is none.
func (s State) Err() error {
	for _, one := range []struct {
		what string
		err  error
	}{
		{"cannot be read", s.Read},
		{"cannot be stored", s.Store},
		{"are not announced", s.Announce},
		{"are not received at once", s.Listen},
	} {
		if one.err != nil {
			return &feedError{one.what, one.err}
		}
	}
	return nil
}

// feedError is a problem of a feed.
type feedError struct {
	what string
	err  error
}

// Error returns what does not work, and why.
func (e *feedError) Error() string { return e.what + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *feedError) Unwrap() error { return e.err }

// subscription is the state of a call of Subscribe.
type subscription struct {
	*Feed
	Subscriber
	state State
	known map[[sha256.Size]byte]int64 // stored entries, and until when (ms)
	seen  string                      // the mark when the entries were last read
	count int64                       // the number of entries at that time
	told  bool                        // State was last called with Current set
}

// Subscribe passes stored and new entries to a Subscriber until stop is closed. It passes a stored entry once, unless
// the entry is published again with a later expiry. It misses entries that are published without an expiry while Redis
// cannot be reached. Without the permission to subscribe to the channel, it finds stored entries within about a second.
// A Feed has one subscriber.
func (f *Feed) Subscribe(stop <-chan struct{}, to Subscriber) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with Subscribe
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	l := &subscription{Feed: f, Subscriber: to, known: make(map[[sha256.Size]byte]int64)}
	l.state.Listen = errNotListening
	entries, listening, ended := make(chan string), make(chan error), make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		l.listen(ctx, entries, listening)
	}()
	defer func() { <-ended }()
	next := time.NewTimer(retryEvery)
	defer next.Stop()
	for {
		select {
		case e := <-entries:
			l.take(e)
			continue
		case err := <-listening:
			if l.state.Listen = err; err != nil {
				l.state.Current = false // announcements are missed
			}
		case <-l.wake:
			l.state.Current = false
		case <-next.C:
		case <-ctx.Done():
			return
		}
		l.look(ctx)
		pause := checkEvery
		if l.state.Err() != nil {
			pause = retryEvery/2 + rand.N(retryEvery)
		}
		next.Reset(pause)
	}
}

// errNotListening means that the channel was not subscribed to yet.
var errNotListening = errors.New("session: not listening yet")

// look checks the feed: it reads the stored entries, stores those that are missing, and tests the permissions.
func (l *subscription) look(ctx context.Context) {
	if l.told && !l.state.Current {
		l.tell(ctx) // before the entries are read, which may take long
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

// tell passes the state to the Subscriber.
func (l *subscription) tell(ctx context.Context) {
	if l.told = l.state.Current; l.State != nil && ctx.Err() == nil {
		l.State(l.state)
	}
}

// restore stores the entries that must be retained and are not in sums, the entries that were read. Nil means that the
// entries have not changed since they were last read.
func (l *subscription) restore(ctx context.Context, sums map[[sha256.Size]byte]int64) error {
	var missing []kept
	full := false
	if sums != nil && l.Retained != nil {
		for entry, until := range l.Retained() {
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
		l.seen = "" // read the entries again next time
		return err
	}
	for _, one := range missing {
		l.known[sha256.Sum256([]byte(one.entry))] = one.until
	}
	if full {
		return errFull
	}
	return nil
}

// listen passes on messages of the channel until ctx ends, and reports when it begins to listen, and why it does not.
func (l *subscription) listen(ctx context.Context, entries chan<- string, listening chan<- error) {
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
			err = errUnsubscribed
		}
		tell(err)
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// errUnsubscribed means that Redis has ended the subscription.
var errUnsubscribed = errors.New("session: Redis has ended the subscription")

// subscribe passes on messages of the channel until the connection is lost. It uses a connection of its own, so that a
// slow subscriber delays nothing else.
func (l *subscription) subscribe(ctx context.Context, c rueidis.Client, entries chan<- string, joined func()) error {
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
		case <-began: // no message is missed from here on
			joined()
		case err := <-ended:
			return redisconn.Error(err)
		}
	}
}

// errScan means that a scan has returned far more entries than a feed can have.
var errScan = errors.New("session: Redis: a scan that does not end")

// read passes on the stored entries that are new, and returns all of them. Unless again is set, it returns nil if they
// have not changed since they were last read.
func (l *subscription) read(ctx context.Context, again bool) (map[[sha256.Size]byte]int64, error) {
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
	// A scan returns all entries that exist from its beginning to its end, in pages that do not block Redis for long.
	sums := make(map[[sha256.Size]byte]int64)
	cursor := uint64(0)
	for range 10 * MaxEntries / pageSize {
		page, err := ask(c.B().Zscan().Key(l.key).Cursor(cursor).Count(pageSize).Build()).AsScanEntry()
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
			l.Receive(fresh)
		}
		if cursor = page.Cursor; cursor == 0 {
			l.seen, l.count = mark, count
			return sums, nil
		}
	}
	return nil, errScan
}

// take passes on a message of the channel: when the entry expires, a colon, the entry.
func (l *subscription) take(message string) {
	head, entry, ok := strings.Cut(message, ":")
	until, err := strconv.ParseInt(head, 10, 64)
	switch {
	case !ok || err != nil: // not an entry
	case until == 0, l.isNew(sha256.Sum256([]byte(entry)), until):
		l.Receive([][]byte{[]byte(entry)})
	}
}

// isNew reports whether a stored entry has not been passed on yet, or expires later than it did then, and records it.
func (l *subscription) isNew(sum [sha256.Size]byte, until int64) bool {
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
			clear(l.known) // some are passed on again
		}
	}
	l.known[sum] = until
	return true
}
