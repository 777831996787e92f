package cluster

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
)

const (
	// batchSize is the largest number of sockets in one batch.
	batchSize = 64
	// window is the number of batches that one worker may have unacknowledged.
	window = 2
	// maxInFlight is the number of sockets that may be in transit to all workers: the kernel counts them against the
	// user's limit of open files.
	maxInFlight = 512
	// maxWaiting is the number of accepted sockets that may wait for a worker. Others wait in the kernel's queue.
	maxWaiting = batchSize
	// With more than manyLanes workers, each gets burst sockets in a row if it has room for them, and then the emptiest
	// follows. If they took turns with every socket, more workers than can run at the same time would have to wake.
	manyLanes = 8
	burst     = 512
	// least is the least number of sockets that may be in transit to a worker when there are many.
	least = 64
	// maxDeaths is the number of workers that may die before they acknowledge a socket: it may be what kills them.
	maxDeaths = 2
)

// socket is an accepted connection that no worker has acknowledged.
type socket struct {
	fd      int
	from    uint16   // number of its endpoint
	refused []uint64 // ids of the workers that did not take it
	deaths  int      // workers that died before they acknowledged it
}

// lane is the dispatcher's state of one ready worker.
type lane struct {
	w       *Worker
	seq     uint32
	batches map[uint32][]socket // sent and not acknowledged; the descriptors are the primary's copies
	filling []socket            // the next batch
	out     int                 // sockets in filling and batches
	paused  bool                // it gets no more sockets
}

// dispatcher passes accepted sockets to workers. It is safe for concurrent use. Methods that need d.mu held are
// documented so.
type dispatcher struct {
	policy  Policy
	refused *refusals

	mu       sync.Mutex
	changed  sync.Cond
	waiting  []socket
	lanes    []*lane
	next     int // the lane whose turn it is
	row      int // sockets that it got in a row, if there are many lanes
	inFlight int
	stopped  bool
	refusing bool // sockets that wait are refused
	stats    Stats
}

func newDispatcher(p Policy, r *refusals) *dispatcher {
	d := &dispatcher{policy: p, refused: r}
	d.changed.L = &d.mu
	return d
}

// put gives accepted sockets to the dispatcher. It blocks while too many are waiting.
func (d *dispatcher) put(fds []int, from uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Accepted += uint64(len(fds))
	for len(d.waiting) >= maxWaiting && !d.stopped {
		d.changed.Wait()
	}
	for _, fd := range fds {
		d.waiting = append(d.waiting, socket{fd: fd, from: from})
	}
	if d.stopped {
		d.drop()
	}
	d.changed.Broadcast()
}

// run passes sockets to workers until stop is called.
func (d *dispatcher) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.stopped {
		if len(d.waiting) == 0 || !d.assign() {
			d.changed.Wait()
		}
	}
}

// assign gives the waiting sockets to workers that have room, and reports whether any did. A socket that must wait for
// one worker, because the others have refused it, does not delay those after it. d.mu must be held.
func (d *dispatcher) assign() (progress bool) {
	if d.refusing {
		return d.refuse()
	}
	kept := d.waiting[:0]
	for _, s := range d.waiting {
		var l *lane
		if d.inFlight < maxInFlight {
			l = d.pick(s)
		}
		if l == nil {
			kept = append(kept, s)
			continue
		}
		l.filling = append(l.filling, s)
		l.out++
		d.inFlight++
		progress = true
	}
	d.waiting = kept
	for _, l := range d.lanes {
		if len(l.filling) > 0 {
			d.pass(l)
		}
	}
	if progress {
		d.changed.Broadcast() // put may be waiting
	}
	return progress
}

// refuse refuses all sockets that wait. d.mu must be held.
func (d *dispatcher) refuse() (progress bool) {
	progress = len(d.waiting) > 0
	for _, s := range d.waiting {
		d.refused.refuse(s.fd)
	}
	d.stats.Refused += uint64(len(d.waiting))
	d.waiting = nil
	d.changed.Broadcast() // put may be waiting
	return progress
}

// setRefusing makes the dispatcher refuse sockets, or pass them to workers again.
func (d *dispatcher) setRefusing(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusing = on
	d.changed.Broadcast()
}

// pick returns the lane for a socket; nil if none has room. No worker may have more than its share in transit, so that
// workers that hang leave room for the others. d.mu must be held.
func (d *dispatcher) pick(s socket) *lane {
	var best *lane
	share := maxInFlight / max(len(d.lanes), 1)
	many := len(d.lanes) > manyLanes
	if many {
		share = max(share, least)
	}
	for i := range d.lanes {
		at := (d.next + i) % len(d.lanes)
		l := d.lanes[at]
		if l.paused || len(l.batches) >= window || len(l.filling) >= batchSize || l.out >= max(share, 1) {
			continue
		}
		if slices.Contains(s.refused, l.w.id) {
			continue
		}
		switch {
		case many && i == 0 && d.row < burst-1:
			d.row++
			return l
		case !many && d.policy != LeastConnections:
			d.next = at + 1
			return l
		}
		if best == nil || l.load() < best.load() {
			best = l
		}
	}
	if many && best != nil { // the emptiest gets the next row
		d.next, d.row = slices.Index(d.lanes, best), 0
		return best
	}
	d.next++ // equals take turns
	return best
}

// load returns the number of connections that the worker has or will have.
func (l *lane) load() int { return l.w.Load() + len(l.filling) }

// pass sends the batch of a lane. d.mu must be held.
func (d *dispatcher) pass(l *lane) {
	batch := l.filling
	l.filling = nil
	l.seq++
	fds := make([]int, len(batch))
	head, tagged := binary.LittleEndian.AppendUint32(nil, l.seq), false
	for i, s := range batch {
		fds[i] = s.fd
		tagged = tagged || s.from != 0
	}
	for _, s := range batch {
		if tagged {
			head = binary.LittleEndian.AppendUint16(head, s.from)
		}
	}
	l.batches[l.seq] = batch
	l.w.passed.Add(int64(len(batch)))
	d.stats.Passed += uint64(len(batch))
	// If this fails, the worker has disconnected, and remove takes the batch back.
	_ = l.w.link.sendFDs(kindConns, head, fds)
}

// ack records that a worker has taken the first sockets of a batch and refused the others.
func (d *dispatcher) ack(w *Worker, seq uint32, taken int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(w)
	if l == nil {
		return
	}
	batch, ok := l.batches[seq]
	if !ok {
		return
	}
	delete(l.batches, seq)
	taken = min(taken, len(batch))
	for _, s := range batch[:taken] {
		closeFD(s.fd)
	}
	w.total.Add(uint64(taken))
	w.passed.Add(-int64(len(batch) - taken))
	d.inFlight -= len(batch)
	l.out -= len(batch)
	for i := range batch[taken:] {
		s := &batch[taken+i]
		s.refused = append(s.refused, w.id)
	}
	d.back(batch[taken:])
	if d.stopped {
		d.drop()
	}
	d.changed.Broadcast()
}

// report records the number of connections that a worker reports. It includes the sockets that the worker had
// acknowledged before, but not those in transit.
func (d *dispatcher) report(w *Worker, load int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out int
	if l := d.lane(w); l != nil {
		out = l.out - len(l.filling)
	}
	w.load.Store(load)
	w.passed.Store(int64(out))
}

// back puts sockets that a worker did not take before the others, unless every worker has refused them. d.mu must be
// held.
func (d *dispatcher) back(list []socket) {
	var again []socket
	for _, s := range list {
		if s.deaths > maxDeaths || d.hopeless(s) {
			d.stats.Refused++
			closeFD(s.fd)
			continue
		}
		d.stats.Redistributed++
		again = append(again, s)
	}
	d.waiting = append(again, d.waiting...)
}

// hopeless reports whether all workers have refused a socket. d.mu must be held.
func (d *dispatcher) hopeless(s socket) bool {
	asked := 0
	for _, l := range d.lanes {
		switch {
		case l.paused:
		case !slices.Contains(s.refused, l.w.id):
			return false
		default:
			asked++
		}
	}
	return asked > 0
}

// many reports whether there are more than manyLanes workers.
func (d *dispatcher) many() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lanes) > manyLanes
}

// add starts to pass sockets to a worker.
func (d *dispatcher) add(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes = append(d.lanes, &lane{w: w, batches: make(map[uint32][]socket)})
	d.changed.Broadcast()
}

// pause passes no more sockets to a worker. Those in transit are still acknowledged.
func (d *dispatcher) pause(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lane(w); l != nil {
		l.paused = true
		d.dropHopeless()
	}
}

// resume passes sockets to a worker again.
func (d *dispatcher) resume(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lane(w); l != nil {
		l.paused = false
		d.changed.Broadcast()
	}
}

// idle reports whether no socket waits or is in transit.
func (d *dispatcher) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting) == 0 && d.inFlight == 0
}

// dropHopeless closes the sockets that were waiting for a worker that gets no more: all others have refused them. d.mu
// must be held.
func (d *dispatcher) dropHopeless() {
	list := d.waiting
	d.waiting = nil
	for _, s := range list {
		if d.hopeless(s) {
			d.stats.Refused++
			closeFD(s.fd)
			continue
		}
		d.waiting = append(d.waiting, s)
	}
}

// remove removes a worker: the sockets that it has not acknowledged go to others. Its link must be closed, because the
// descriptors in its queue may be closed from now on.
func (d *dispatcher) remove(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(w)
	if l == nil {
		return
	}
	for i := range d.lanes {
		if d.lanes[i] == l {
			d.lanes = append(d.lanes[:i:i], d.lanes[i+1:]...)
			break
		}
	}
	w.held = w.load.Load() + w.passed.Load() - int64(l.out-len(l.filling))
	w.passed.Store(0)
	for _, seq := range slices.Backward(slices.Sorted(maps.Keys(l.batches))) { // so that the oldest ends up first
		batch := l.batches[seq]
		d.inFlight -= len(batch)
		for i := range batch {
			batch[i].deaths++
		}
		d.back(batch)
	}
	d.dropHopeless()
	if d.stopped {
		d.drop()
	}
	d.changed.Broadcast()
}

// lane returns the lane of a worker; nil if there is none. d.mu must be held.
func (d *dispatcher) lane(w *Worker) *lane {
	for _, l := range d.lanes {
		if l.w == w {
			return l
		}
	}
	return nil
}

// stop closes the sockets that wait. Those in transit are still acknowledged.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.drop()
	d.changed.Broadcast()
}

// drop closes the sockets that wait. d.mu must be held.
func (d *dispatcher) drop() {
	for _, s := range d.waiting {
		closeFD(s.fd)
	}
	d.stats.Refused += uint64(len(d.waiting))
	d.waiting = nil
}

// snapshot returns the counters.
func (d *dispatcher) snapshot() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

func (d *dispatcher) acceptFailed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.AcceptErrors++
}
