package loadtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// totals are the counts of one or all client processes. They only grow, except Open, Pending and Users.
type totals struct {
	Open                int    // connections that are open
	Peak                int    // most connections that were open
	Pending             int    // connects in progress
	Opened, Failed      uint64 // finished connects
	Dropped             uint64 // connections closed by a storm or at the end
	Closed              map[string]uint64
	Errors              map[string]uint64
	Sent, Received      uint64 // messages
	BytesSent, BytesIn  uint64 // bytes of payloads
	Pings               uint64 // pings answered
	Unanswered          uint64 // messages without a reply when their connection or the run ended
	Published           uint64 // publications
	Delivered           uint64
	Missing, Duplicates uint64
	Arrived, Completed  uint64 // virtual users
	UsersFailed         uint64
	Skipped             uint64 // users that did not arrive because MaxUsers were active
	Users               int    // active users
}

// maxCauses limits the number of different errors and close codes. Further ones are counted as otherCause.
const (
	maxCauses  = 64
	otherCause = "other"
)

// count increments a named counter.
func count(m *map[string]uint64, name string) {
	if *m == nil {
		*m = make(map[string]uint64)
	}
	if _, ok := (*m)[name]; !ok && len(*m) >= maxCauses {
		name = otherCause
	}
	(*m)[name]++
}

func (t *totals) clone() totals {
	c := *t
	c.Closed, c.Errors = maps.Clone(t.Closed), maps.Clone(t.Errors)
	return c
}

// add adds the counts of another process.
func (t *totals) add(o *totals) {
	t.Open += o.Open
	t.Peak += o.Peak // an upper bound: the peaks may not coincide
	t.Pending += o.Pending
	t.Users += o.Users
	for _, p := range [][2]*uint64{
		{&t.Opened, &o.Opened},
		{&t.Failed, &o.Failed},
		{&t.Dropped, &o.Dropped},
		{&t.Sent, &o.Sent},
		{&t.Received, &o.Received},
		{&t.BytesSent, &o.BytesSent},
		{&t.BytesIn, &o.BytesIn},
		{&t.Pings, &o.Pings},
		{&t.Unanswered, &o.Unanswered},
		{&t.Published, &o.Published},
		{&t.Delivered, &o.Delivered},
		{&t.Missing, &o.Missing},
		{&t.Duplicates, &o.Duplicates},
		{&t.Arrived, &o.Arrived},
		{&t.Completed, &o.Completed},
		{&t.UsersFailed, &o.UsersFailed},
		{&t.Skipped, &o.Skipped},
	} {
		*p[0] += *p[1]
	}
	t.Closed, t.Errors = merged(t.Closed, o.Closed), merged(t.Errors, o.Errors)
}

func merged(to, from map[string]uint64) map[string]uint64 {
	if to == nil && len(from) > 0 {
		to = make(map[string]uint64)
	}
	for name, n := range from {
		to[name] += n
	}
	return to
}

// Times are recorded in nanoseconds, with three significant digits, from one microsecond to five minutes.
const (
	leastTime  = int64(time.Microsecond)
	mostTime   = int64(5 * time.Minute)
	digitsKept = 3
)

func newTimes() *hdrhistogram.Histogram { return hdrhistogram.New(leastTime, mostTime, digitsKept) }

// record records a time. Longer times count as mostTime.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 0), mostTime)) // cannot fail within the limits
}

// measures are the histograms of an interval or of the whole run.
type measures struct {
	connect *hdrhistogram.Histogram // from the first SYN to the 101
	rtt     *hdrhistogram.Histogram // from when a message was due; with ModeBroadcast, to its arrival at each receiver
	sent    *hdrhistogram.Histogram // from when a message was sent
	late    *hdrhistogram.Histogram // from due to sent
	session *hdrhistogram.Histogram // of virtual users, from the first step to the last
}

func newMeasures() *measures {
	return &measures{connect: newTimes(), rtt: newTimes(), sent: newTimes(), late: newTimes(), session: newTimes()}
}

func (m *measures) all() []*hdrhistogram.Histogram {
	return []*hdrhistogram.Histogram{m.connect, m.rtt, m.sent, m.late, m.session}
}

func (m *measures) reset() {
	for _, h := range m.all() {
		if h.TotalCount() > 0 {
			h.Reset()
		}
	}
}

// merge adds the values of o.
func (m *measures) merge(o *measures) {
	to := m.all()
	for i, h := range o.all() {
		if h.TotalCount() > 0 {
			to[i].Merge(h)
		}
	}
}

// sample is what a client process sends to its parent once a second, and when its state changes.
type sample struct {
	Totals  totals
	Settled bool // all clients have connected or failed, or all users have finished
	Quiet   bool // no message waits for its answer
	Orders  int  // orders handled
	Ended   bool // this is the last sample
	CPU     time.Duration
	RSS     int64     // bytes
	times   *measures // since the previous sample
	done    func()    // returns times to the generator; may be nil
}

// sampleWire is the encoding of a sample between processes.
type sampleWire struct {
	sample
	Times [][]byte // in the order of measures.all; nil is empty
}

func (s *sample) encode() ([]byte, error) {
	w := sampleWire{sample: *s}
	for _, h := range s.times.all() {
		var b []byte
		if h.TotalCount() > 0 {
			var err error
			if b, err = h.EncodeV2(); err != nil {
				return nil, fmt.Errorf("loadtest: %w", err)
			}
		}
		w.Times = append(w.Times, b)
	}
	return json.Marshal(w)
}

func decodeSample(b []byte) (*sample, error) {
	var w sampleWire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	s := &w.sample
	s.times = newMeasures()
	all := s.times.all()
	for i, b := range w.Times[:min(len(w.Times), len(all))] {
		if len(b) == 0 {
			continue
		}
		h, err := hdrhistogram.Decode(b)
		if err != nil {
			return nil, fmt.Errorf("loadtest: %w", err)
		}
		all[i].Merge(h)
	}
	return s, nil
}
