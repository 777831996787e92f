package cluster

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
)

const (
	// batchSize is the largest number of sockets that are passed at once.
	batchSize = 64
	// window is the number of batches that one worker may have to acknowledge.
	window = 2
	// maxInFlight is the number of sockets that may be under way to all workers: the kernel counts them against the
	// limit of open files of the user.
	maxInFlight = 512
	// maxWaiting is the number of accepted sockets that may wait for a worker. The next wait in the kernel's queue.
	maxWaiting = batchSize
	// manyLanes is where workers do not take turns with every socket any more: of more than can run at once each would
	// have to wake for each of them. One takes burst sockets in a row then, if it has room for them; then the emptiest.
	manyLanes = 8
	burst     = 512
	// least is the least share of what may be under way that a worker has.
	least = 64
	// maxDeaths is the number of workers that may die over one socket: it may be what kills them.
	maxDeaths = 2
)

// socket is an accepted connection on its way.
type socket struct {
	fd      int
	refused []uint64 // ids of the workers that did not take it
	deaths  int      // workers that died before they had acknowledged it
}

// lane is the way to one ready worker.
type lane struct {
	w       *Worker
	seq     uint32
	batches map[uint32][]socket // passed and not acknowledged; the primary's copies
	filling []socket            // of the batch that is being put together
	out     int                 // sockets in filling and batches
	paused  bool                // it gets no more
}

// dispatcher passes accepted sockets to workers.
type dispatcher struct {
	policy  Policy
	refused *refusals

	mu       sync.Mutex
	changed  sync.Cond
	waiting  []socket
	lanes    []*lane
	next     int // lane whose turn it is
	row      int // sockets that it has had in a row, if there are many
	inFlight int
	stopped  bool
	refusing bool // what waits gets refused
	stats    Stats
}

func newDispatcher(p Policy, r *refusals) *dispatcher {
	d := &dispatcher{policy: p, refused: r}
	d.changed.L = &d.mu
	return d
}

// put gives accepted sockets to the dispatcher. It waits while too many wait already.
func (d *dispatcher) put(fds []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Accepted += uint64(len(fds))
	for len(d.waiting) >= maxWaiting && !d.stopped {
		d.changed.Wait()
	}
	for _, fd := range fds {
		d.waiting = append(d.waiting, socket{fd: fd})
	}
	if d.stopped {
		d.drop()
	}
	d.changed.Broadcast()
}

// run passes sockets on until stop.
func (d *dispatcher) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.stopped {
		if len(d.waiting) == 0 || !d.assign() {
			d.changed.Wait()
		}
	}
}

// assign gives the waiting sockets to workers that have room, and reports whether there was one. A socket that must
// wait for one worker, because the others have refused it, does not hold up those behind it.
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
		d.changed.Broadcast() // for those in put
	}
	return progress
}

// refuse refuses all that waits.
func (d *dispatcher) refuse() (progress bool) {
	progress = len(d.waiting) > 0
	for _, s := range d.waiting {
		d.refused.refuse(s.fd)
	}
	d.stats.Refused += uint64(len(d.waiting))
	d.waiting = nil
	d.changed.Broadcast() // for those in put
	return progress
}

// setRefusing begins or ends to refuse what comes.
func (d *dispatcher) setRefusing(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusing = on
	d.changed.Broadcast()
}

// pick chooses the worker for a socket; nil if none has room. No worker may have more than its share under way, so that
// those which hang leave room for the others.
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
	if many && best != nil { // the emptiest has the next row
		d.next, d.row = slices.Index(d.lanes, best), 0
		return best
	}
	d.next++ // equals take turns
	return best
}

// load is the number of connections that the worker has or will have.
func (l *lane) load() int { return l.w.Load() + len(l.filling) }

// pass sends the batch of a lane.
func (d *dispatcher) pass(l *lane) {
	batch := l.filling
	l.filling = nil
	l.seq++
	fds := make([]int, len(batch))
	for i, s := range batch {
		fds[i] = s.fd
	}
	l.batches[l.seq] = batch
	l.w.passed.Add(int64(len(batch)))
	d.stats.Passed += uint64(len(batch))
	// A failure means that the worker is gone: its exit brings the batch back.
	_ = l.w.link.sendFDs(kindConns, binary.LittleEndian.AppendUint32(nil, l.seq), fds)
}

// ack notes that a worker has taken the first sockets of a batch and refused the others.
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

// report notes the number of connections that a worker says it has. What it had acknowledged before is among them; what
// is under way is not.
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

// back puts sockets that a worker did not take in front of the others, unless every worker has refused them.
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

// hopeless says whether all workers there are have refused a socket.
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

// many says whether workers do not take turns with every socket: see manyLanes.
func (d *dispatcher) many() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lanes) > manyLanes
}

// add makes a worker known as ready.
func (d *dispatcher) add(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes = append(d.lanes, &lane{w: w, batches: make(map[uint32][]socket)})
	d.changed.Broadcast()
}

// pause gives a worker no more sockets. What is under way to it is still acknowledged.
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

// idle says whether no socket is here or under way.
func (d *dispatcher) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting) == 0 && d.inFlight == 0
}

// dropHopeless closes what waited for one worker alone, which is there no more: all others have refused it.
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

// remove forgets a worker: what it has not acknowledged goes to others. Its link must be closed: descriptors that its
// writer still has may be closed from here on.
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
	for _, seq := range slices.Backward(slices.Sorted(maps.Keys(l.batches))) { // the oldest ends in front
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

func (d *dispatcher) lane(w *Worker) *lane {
	for _, l := range d.lanes {
		if l.w == w {
			return l
		}
	}
	return nil
}

// stop closes what waits. What is under way is still acknowledged.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.drop()
	d.changed.Broadcast()
}

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
