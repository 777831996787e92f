package engine

// Rate bounds bytes per second in each direction. 0 is no bound, and less than MinRate counts as MinRate.
type Rate struct {
	In, Out int64
}

// MinRate is the least rate in bytes per second: below it a close frame would not leave in the time that it has.
const MinRate = 4 << 10

const (
	// minBurst is what may pass at once, whatever the rate: about what fits into the buffers of a socket.
	minBurst = 64 << 10
	// burstPart makes the burst of a rate its bytes of a quarter of a second. A wait ends up to one tick of the loop
	// late, which is 100 ms: what a bucket gains meanwhile must fit in, or the rate would never be reached.
	burstPart = 4
	// minShare and maxShare bound what one connection gets at a time, before others get theirs.
	minShare = 4 << 10
	maxShare = 64 << 10
	// sharePart makes a share no more than the bytes of a sixteenth of a second: what is sent flows.
	sharePart = 16
	// second is one in nanoseconds.
	second = 1_000_000_000
)

// bucket is a rate and its burst. How much is in a bucket of the kind is one number: the time from which on it is full.
type bucket struct {
	rate  int64 // 0 is no bound
	burst int64
}

func newBucket(rate int64) bucket {
	if rate <= 0 {
		return bucket{}
	}
	rate = max(rate, MinRate)
	return bucket{rate: rate, burst: max(rate/burstPart, minBurst)}
}

// cost is the time in which n bytes flow in; negative for a negative n.
func (b bucket) cost(n int64) int64 {
	if b.rate == 0 {
		return 0
	}
	return int64(float64(n) / float64(b.rate) * second)
}

// take takes n bytes, and returns the time from which on they may pass: the past or now if there are as many.
func (b bucket) take(full *int64, n int, now int64) (due int64) {
	if b.rate == 0 {
		return now
	}
	*full = max(*full, now) + b.cost(int64(n))
	return *full - b.cost(b.burst)
}

// lane is one direction: what each connection may pass, and all together.
//
// Who finds too few bytes takes the next ones in advance and waits until they have flowed in: that is a place in a
// queue, as those who come later wait for later ones. It gets one share per wait and queues again for the next, so all
// that want more than there is take turns, and one who wants little waits for one turn of the others. The more wait,
// the smaller the shares: a round takes about the time of the burst, until shares cannot be smaller.
type lane struct {
	own, all bucket
	full     int64 // of all
	waiting  int
	typical  int // bytes that one read brings
	hits     limit
}

func newLane(own, all int64, hits limit) lane {
	return lane{own: newBucket(own), all: newBucket(all), typical: minShare, hits: hits}
}

func (l *lane) off() bool { return l.own.rate == 0 && l.all.rate == 0 }

// share is how many bytes one connection gets at a time.
func (l *lane) share() int {
	n := int64(maxShare)
	if l.own.rate > 0 {
		n = min(n, l.own.rate/sharePart)
	}
	if l.all.rate > 0 {
		n = min(n, l.all.rate/sharePart, l.all.burst/int64(l.waiting+1))
	}
	return int(max(n, minShare))
}

// turn is a connection in one direction. Its zero value is that of a connection that was silent for long enough.
type turn struct {
	full   int64 // of its own
	due    int64 // when it may go on; 0 while it does not wait
	size   int32 // bytes that are reserved for then
	ponged bool  // a pong was queued in this wait
}

// idle says that there is nothing to remember.
func (t *turn) idle(now int64) bool { return t.due == 0 && t.full <= now }

// book reserves up to want bytes, at most a share, for as soon as possible.
func (l *lane) book(t *turn, want int, now int64) {
	n := min(want, l.share())
	due := max(l.own.take(&t.full, n, now), l.all.take(&l.full, n, now))
	t.size, t.due = int32(n), max(due, now)
	l.waiting++
}

// claim ends the wait of t if it is over, and returns the bytes that were reserved.
func (l *lane) claim(t *turn, now int64) (n int) {
	if t.due == 0 || now < t.due {
		return 0
	}
	return l.leave(t)
}

// leave ends the wait of t, whether it is over or not, and returns the bytes that were reserved.
func (l *lane) leave(t *turn) (n int) {
	if t.due != 0 {
		l.waiting--
	}
	n = int(t.size)
	t.due, t.size, t.ponged = 0, 0, false
	return n
}

// charge corrects a reservation by n bytes: fewer have passed if it is negative.
func (l *lane) charge(t *turn, n int) {
	t.full += l.own.cost(int64(n))
	l.full += l.all.cost(int64(n))
}

// learn takes note of how much a read has brought.
func (l *lane) learn(n int) {
	l.typical += (n - l.typical) / 8
	l.typical = max(l.typical, 1)
}
