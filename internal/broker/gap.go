package broker

import (
	"cmp"
	"maps"
	"slices"
)

// MaxGapTopics is the number of topics for which the Hub records, for each worker, that publications were missed.
// Beyond it, the worker is told that any topic may have missed some.
const MaxGapTopics = 1024

// gap records the publications that a worker has missed and was not told of yet. The zero value is none.
type gap struct {
	all    missed
	topics map[string]missed // nil if there are too many
}

// missed counts publications that did not reach a worker.
type missed struct {
	count, last uint64 // last is the highest number
}

// and returns m with one more publication.
func (m missed) and(seq uint64) missed { return missed{count: m.count + 1, last: seq} }

// add records that a publication was missed.
func (g *gap) add(topic string, seq uint64) {
	if g.all.count == 0 {
		g.topics = make(map[string]missed)
	}
	g.all = g.all.and(seq)
	if g.topics == nil {
		return
	}
	g.topics[topic] = g.topics[topic].and(seq)
	if len(g.topics) > MaxGapTopics {
		g.topics = nil
	}
}

// append appends a Gap for each topic, ordered by the last publication that was missed.
func (g *gap) append(dst []byte) []byte {
	if g.topics == nil {
		return AppendEnvelope(dst, Envelope{Kind: Gap, Seq: g.all.last, Conn: g.all.count})
	}
	names := slices.SortedFunc(maps.Keys(g.topics), func(a, b string) int {
		return cmp.Compare(g.topics[a].last, g.topics[b].last)
	})
	for _, name := range names {
		m := g.topics[name]
		dst = AppendEnvelope(dst, Envelope{Kind: Gap, Topic: name, Seq: m.last, Conn: m.count})
	}
	return dst
}
