package engine

// Rate limits bytes per second in each direction. 0 means no limit. A limit below MinRate counts as MinRate.
type Rate struct {
	In, Out int64
}

// MinRate is the minimum rate in bytes per second. Below it, a close frame would not leave within the close timeout.
const MinRate = 4 << 10

const (
	// minBurst is the minimum burst: about what fits into the buffers of a socket.
	minBurst = 64 << 10
	// burstPart: the burst is what flows in a quarter of a second. A wait ends up to one tick of the loop late, which
	// is 100 ms. If the burst were smaller than what flows meanwhile, the rate would never be reached.
	burstPart = 4
	// minShare and maxShare limit how much a connection gets before the others get their turn.
	minShare = 4 << 10
	maxShare = 64 << 10
	// sharePart: a share is at most what flows in a sixteenth of a second, so that output flows evenly.
	sharePart = 16
	// second is a second in nanoseconds.
	second = 1_000_000_000
)

// bucket is a token bucket. The fill level of such a bucket is stored as the time at which it will be full.
type bucket struct {
	rate  int64 // 0 means no limit
	burst int64
}

func newBucket(rate int64) bucket {
	if rate <= 0 {
		return bucket{}
	}
	rate = max(rate, MinRate)
	return bucket{rate: rate, burst: max(rate/burstPart, minBurst)}
}

// cost returns the time in which n bytes flow in. It is negative for a negative n.
func (b bucket) cost(n int64) int64 {
	if b.rate == 0 {
		return 0
	}
	return int64(float64(n) / float64(b.rate) * second)
}

// take takes n bytes and returns when they may pass, which is now or earlier if the bucket holds them.
func (b bucket) take(full *int64, n int, now int64) (due int64) {
	if b.rate == 0 {
		return now
	}
	*full = max(*full, now) + b.cost(int64(n))
	return *full - b.cost(b.burst)
}

// lane is one direction: the limit of each connection, and the limit of all together.
//
// A connection that finds too few bytes reserves the next ones and waits until they have flowed in. Later connections
// wait for later bytes, so this is a queue. Each wait gives one share, after which the connection queues again: all
// that want more than there is take turns, and one that wants little waits for at most one turn of the others. The more
// connections wait, the smaller the shares, so that a round takes about the time of the burst, until shares have their
// minimum size.
type lane struct {
	own, all bucket
	full     int64 // of bucket all
	waiting  int
	typical  int // bytes that a typical read returns
	hits     limit
}

func newLane(own, all int64, hits limit) lane {
	return lane{own: newBucket(own), all: newBucket(all), typical: minShare, hits: hits}
}

func (l *lane) off() bool { return l.own.rate == 0 && l.all.rate == 0 }

// share returns how many bytes a connection gets at a time.
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

// turn is the state of a connection in one direction. The zero value belongs to a connection that was silent long
// enough.
type turn struct {
	full   int64 // of the connection's own bucket
	due    int64 // when it may continue; 0 while it does not wait
	size   int32 // bytes reserved for then
	ponged bool  // a pong was queued during this wait
}

// idle reports whether t equals the zero value in effect.
func (t *turn) idle(now int64) bool { return t.due == 0 && t.full <= now }

// book reserves up to want bytes, at most a share, for the earliest possible time.
func (l *lane) book(t *turn, want int, now int64) {
	n := min(want, l.share())
	due := max(l.own.take(&t.full, n, now), l.all.take(&l.full, n, now))
	t.size, t.due = int32(n), max(due, now)
	l.waiting++
}

// claim ends the wait of t if it is over, and returns the reserved bytes.
func (l *lane) claim(t *turn, now int64) (n int) {
	if t.due == 0 || now < t.due {
		return 0
	}
	return l.leave(t)
}

// leave ends the wait of t, whether it is over or not, and returns the reserved bytes.
func (l *lane) leave(t *turn) (n int) {
	if t.due != 0 {
		l.waiting--
	}
	n = int(t.size)
	t.due, t.size, t.ponged = 0, 0, false
	return n
}

// charge adds n bytes to a reservation. n is negative if fewer bytes have passed.
func (l *lane) charge(t *turn, n int) {
	t.full += l.own.cost(int64(n))
	l.full += l.all.cost(int64(n))
}

// learn updates the typical length of a read.
func (l *lane) learn(n int) {
	l.typical += (n - l.typical) / 8
	l.typical = max(l.typical, 1)
}
