package reactor

import (
	"slices"
	"sync"
	"time"
)

// warmth drops the ciphers of sealed sockets that are silent. Of AES-GCM they take 1,536 of 1,856 bytes, and to derive
// both again takes 3 µs and 3.8 KB of garbage (BenchmarkRest): little, once in some seconds. A round looks at each
// socket that has ciphers, a few of them at a time, and those that no record has used since the round before lose
// theirs.
type warmth struct {
	loop  *Loop
	alarm *Alarm // set while there is a round

	// On the loop only.
	round []*sealed // of this round
	at    int       // the next of round
	until int64     // when the next round begins, at the earliest
	kept  int       // how many of those before at stay for the next round: the first ones
	share int       // of round at each alarm

	mu    sync.Mutex // guards the rest
	fresh []*sealed  // for the next round
	most  int        // length of fresh at which to tidy
	armed bool       // there is a round
}

const (
	// restRound is how long a socket with ciphers has to be silent. Pings are rarer, so that a connection with nothing
	// but pings rests most of the time.
	restRound = 5 * time.Second
	// restEvery is the time between two looks: 100,000 connections are 2,000 in each.
	restEvery = 100 * time.Millisecond
	// fewFresh is how many connections of a round may be closed before anybody looks for them.
	fewFresh = 256
)

func newWarmth(l *Loop) *warmth {
	w := &warmth{loop: l, most: fewFresh}
	w.alarm = l.NewAlarm(w.look)
	return w
}

// enlist makes t, which has ciphers, one of the next round. It requires that t.mu is held.
func (w *warmth) enlist(t *sealed) {
	if t.listed {
		return
	}
	t.listed = true
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = append(w.fresh, t)
	switch {
	case !w.armed:
		w.armed = true
		w.loop.Post(w.begin)
	case len(w.fresh) == w.most:
		w.loop.Post(w.tidy)
	}
}

// tidy removes those that are closed or have moved: many short connections must not wait for the end of a round.
func (w *warmth) tidy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = slices.DeleteFunc(w.fresh, func(t *sealed) bool { return !w.loop.keys.has(t.key) })
	w.most = 2*len(w.fresh) + fewFresh
}

// begin begins a round, unless there is nothing to look at.
func (w *warmth) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round = append(w.round, w.fresh...)
	w.fresh, w.most, w.at, w.kept = nil, fewFresh, 0, 0
	if w.armed = len(w.round) > 0; !w.armed {
		w.round = nil
		return
	}
	if cap(w.round) > 4*len(w.round)+64 {
		w.round = slices.Clone(w.round)
	}
	w.share = len(w.round)/int(restRound/restEvery) + 1
	w.until = w.loop.now + int64(restRound)
	w.alarm.Set(w.loop.now+int64(restEvery), int64(restEvery)/2)
}

// look looks at a share of the round, or begins the next one.
func (w *warmth) look() {
	for range w.share {
		if w.at == len(w.round) {
			break
		}
		t := w.round[w.at]
		w.at++
		if !t.rests(w.loop.keys.has(t.key)) {
			w.round[w.kept] = t
			w.kept++
		}
	}
	if w.at == len(w.round) {
		clear(w.round[w.kept:])
		w.round, w.at = w.round[:w.kept], w.kept
	}
	switch {
	case w.at < len(w.round):
		w.alarm.Set(w.loop.now+int64(restEvery), int64(restEvery)/2)
	case w.loop.now < w.until:
		w.alarm.Set(w.until, int64(restEvery)/2)
	default:
		w.begin()
	}
}

// opens records that a record was opened with the cipher of t.
func (t *sealed) opens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warm(&t.read)
}

// warm records that a record uses a cipher of t: t.read or t.wrote. It requires that t.mu is held.
func (t *sealed) warm(used *bool) {
	if *used = true; t.off == nil {
		t.loop.warmth.enlist(t)
	}
}

// rests drops the ciphers of t if no record has used them since the last look. It reports whether they need not be
// looked at again until the next record: also because t is closed, has moved, or is no longer on the loop.
func (t *sealed) rests(here bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if here {
		if t.read || t.wrote {
			t.read, t.wrote = false, false
			return false
		}
		t.in.Rest()
		t.out.Rest()
		if t.leaves != nil && t.leaves.nothing() && fdUnacknowledged(int(t.fd)) == 0 {
			t.leaves = nil
		}
	}
	t.listed = false
	return true
}
