package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/record"
)

// ErrState is returned if bytes are not a valid state of a Relay.
var ErrState = errors.New("relay: bad state")

// The records of a state. Each begins with its tag and its length; unknown tags are skipped.
const (
	tagStream   = 1  // the stream of topics that come
	tagSender   = 2  // topic, stream, seq, age in ms
	tagUnsent   = 4  // topic, and a message that was not sent yet
	tagStats    = 5  // the counters; more may follow
	tagQueued   = 6  // nothing: messages are in the queue of the backplane
	tagOwner    = 7  // of topics with a history: publisher, number of the latest publication
	tagSeries   = 8  // topic, and of the latest publication that was delivered: epoch, offset, publisher, number; latest
	tagOwn      = 9  // topic, number, whether it was delivered, and lost, and the publication as appendKept writes it
	tagSaid     = 10 // of topics with a history: topic, number of the latest publication, age in ms
	tagReceiver = 3  // topic, time since from in ms, and node, stream, seq for each machine
)

// AppendState appends the state of the Relay to dst and returns the result: its numbers, and those of the others. A
// primary that replaces its program passes it to LoadState.
func (r *Relay) AppendState(dst []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	dst = record.AppendUint64(dst, tagStream, r.senders.stream)
	var b []byte
	for _, n := range r.stats.counts() {
		b = appendNumbers(b, *n)
	}
	dst = record.Append(dst, tagStats, b)
	for topic, s := range r.senders.topics {
		b = record.AppendText(b[:0], topic)
		b = appendNumbers(b, s.stream, s.seq, milliseconds(now-s.at))
		dst = record.Append(dst, tagSender, b)
	}
	for topic, from := range r.receivers {
		if !from.listening {
			continue
		}
		b = record.AppendText(b[:0], topic)
		b = appendNumbers(b, milliseconds(now-from.from))
		for _, h := range from.nodes {
			b = appendNumbers(b, h.node, h.stream, h.seq)
		}
		dst = record.Append(dst, tagReceiver, b)
	}
	if r.Backplane != nil && r.Backplane.Status().Queued > 0 {
		dst = record.Append(dst, tagQueued, "")
	}
	dst = r.appendSeries(dst)
	for _, m := range r.unsent.list {
		dst = record.Append(dst, tagUnsent, append(record.AppendText(b[:0], m.Topic), m.Payload...))
	}
	return dst
}

// LoadState makes this Relay continue with the state of another one, before Start. What was published since is missing:
// it is asked for as after an outage. On an error, which is ErrState, nothing has changed.
func (r *Relay) LoadState(b []byte) error {
	next := newSenders()
	next.stream = r.senders.stream
	receivers := make(map[string]*receiver)
	var waiting unsent
	var stats Stats
	queued := false
	past := r.past
	past.series, past.ownCount, past.ownBytes, past.said = make(map[string]*series), 0, 0, newSaid()
	now := r.now()
	d := record.NewDecoder(b)
	for d.More() {
		tag, value := d.Next()
		v := record.NewDecoder(value)
		switch tag {
		case tagStream:
			next.stream = max(next.stream, v.Uint64())
		case tagSender:
			topic := string(v.Text())
			next.topics[topic] = &sender{stream: v.Uvarint(), seq: v.Uvarint(), at: now - duration(v.Uvarint())}
		case tagReceiver:
			topic := string(v.Text())
			from := &receiver{listening: true, from: now - duration(v.Uvarint()), isDeaf: true, deaf: now - margin}
			for v.More() && v.Err() == nil {
				from.nodes = append(from.nodes, heard{v.Uvarint(), v.Uvarint(), v.Uvarint()})
			}
			receivers[topic] = from
		case tagStats:
			for _, n := range stats.counts() {
				if !v.More() { // of an earlier release
					break
				}
				*n = v.Uvarint()
			}
		case tagQueued:
			queued = true
		case tagOwner, tagSeries, tagOwn, tagSaid:
			past.load(tag, &v, now)
		case tagUnsent:
			waiting.list = append(waiting.list, backplane.Message{Topic: string(v.Text()), Payload: v.Rest()})
		}
		if err := v.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	if err := d.End(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders, r.inherited, r.unsent, r.stats, r.queued = next, receivers, waiting, stats, queued
	for topic, s := range past.series {
		s.followed = receivers[topic] != nil
	}
	if past.plane != nil { // else topics have no history any more
		r.past = past
	}
	return nil
}

// appendSeries appends the state of topics with a history.
func (r *Relay) appendSeries(dst []byte) []byte {
	if r.past.plane == nil {
		return dst
	}
	dst = record.Append(dst, tagOwner, appendNumbers(nil, r.past.publisher, r.past.number))
	var b []byte
	for topic, s := range r.past.series {
		if s.followed && s.started {
			b = appendNumbers(record.AppendText(b[:0], topic), s.last.Epoch, s.last.Offset, s.id.publisher, s.id.number)
			for _, l := range s.latest {
				b = appendNumbers(b, l.publisher, l.number)
			}
			dst = record.Append(dst, tagSeries, b)
		}
		for _, o := range s.own {
			b = appendNumbers(record.AppendText(b[:0], topic), o.number, flag(o.told), flag(o.lost))
			dst = record.Append(dst, tagOwn, appendKept(b, o.entry(r.past.publisher)))
		}
	}
	now := r.now()
	for topic, l := range r.past.said.topics {
		b = appendNumbers(record.AppendText(b[:0], topic), l.number, milliseconds(now-l.at))
		dst = record.Append(dst, tagSaid, b)
	}
	return dst
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// load reads a record of the state. What was delivered since is read from the history.
func (h *histories) load(tag byte, v *record.Decoder[[]byte], now time.Duration) {
	if tag == tagOwner {
		h.publisher, h.number = v.Uvarint(), v.Uvarint()
		return
	}
	topic := string(v.Text())
	if tag == tagSaid {
		h.said.topics[topic] = &latestOwn{number: v.Uvarint(), at: now - duration(v.Uvarint())}
		return
	}
	s := h.series[topic]
	if s == nil {
		s = &series{}
		h.series[topic] = s
	}
	if tag == tagSeries {
		s.last = broker.Place{Epoch: v.Uvarint(), Offset: v.Uvarint()}
		s.id = identity{v.Uvarint(), v.Uvarint()}
		s.started, s.outage = true, true
		for v.More() && v.Err() == nil { // an earlier release tells none
			s.latest = append(s.latest, latest{identity: identity{v.Uvarint(), v.Uvarint()}})
		}
		return
	}
	o := &own{number: v.Uvarint(), told: v.Uvarint() != 0, lost: v.Uvarint() != 0, since: now}
	e, err := parseKept(v.Rest())
	if err != nil {
		v.Fail(err)
		return
	}
	o.m, o.previous = e.m, e.previous
	if n := len(s.own); n > 0 && s.own[n-1].number >= o.number {
		v.Fail(errMessage)
		return
	}
	s.own = append(s.own, o)
	h.ownCount++
	h.ownBytes += o.size()
}

func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func milliseconds(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }

func duration(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(maxAge/time.Millisecond))) * time.Millisecond
}
