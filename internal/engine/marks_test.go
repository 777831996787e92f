package engine

import (
	"slices"
	"testing"
)

// TestWithout: the latest publications on a client's topics are taken back until the unacknowledged bytes are covered.
func TestWithout(t *testing.T) {
	const epoch = 7
	at := func(topic string, offset uint64) Mark { return Mark{topic, Place{epoch, offset}} }
	var m marks
	for i := range uint64(10) { // a 1, b 1, a 2, b 2, ...
		topic := []string{"a", "b"}[i%2]
		m.published(at(topic, i/2+1), 100)
	}
	m.published(at("c", 1), 100)
	unknown := func(topic string) Mark { return Mark{topic, NoPlace()} }
	for _, tt := range []struct {
		name   string
		latest uint64
		bytes  int
		list   []Mark
		want   []Mark
	}{
		{"nothing is missing", 0, 0, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 5), at("b", 5)}},
		{"a part of the last one", 0, 1, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 5), at("b", 4)}},
		{"the last one", 0, 100, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 5), at("b", 4)}},
		{"more than the last one", 0, 101, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 4), at("b", 4)}},
		{"one topic only", 0, 250, []Mark{at("a", 5)}, []Mark{at("a", 2)}},
		{"one that was not sent to it yet does not count", 0, 100, []Mark{at("a", 3)}, []Mark{at("a", 2)}},
		{"all that is remembered", 0, 500, []Mark{at("a", 5)}, []Mark{at("a", 0)}},
		{"two topics", 0, 500, []Mark{at("a", 5), at("c", 1)}, []Mark{at("a", 1), at("c", 0)}},
		{"much more", 0, 5000, []Mark{at("a", 5), at("c", 1)}, []Mark{unknown("a"), unknown("c")}},
		{"after the end", 2, 0, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 5), at("b", 4)}},
		{"after the end, and a part before", 2, 1, []Mark{at("a", 5), at("b", 5)}, []Mark{at("a", 4), at("b", 4)}},
		{"after the end, of another topic", 1, 100, []Mark{at("a", 5)}, []Mark{at("a", 4)}},
		{"more after the end than is remembered", 12, 0, []Mark{at("a", 5)}, []Mark{unknown("a")}},
		{"another epoch", 0, 100, []Mark{{"a", Place{8, 5}}}, []Mark{unknown("a")}},
	} {
		if got := m.without(tt.latest, tt.bytes, slices.Clone(tt.list)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestWithoutManyPublications: the oldest publications are forgotten.
func TestWithoutManyPublications(t *testing.T) {
	var m marks
	const last = maxRecent + maxRecent/2
	for i := range uint64(last) {
		m.published(Mark{"a", Place{1, i + 1}}, 10)
	}
	for _, tt := range []struct {
		bytes int
		want  Mark
	}{
		{15, Mark{"a", Place{1, last - 2}}},
		{10 * maxRecent, Mark{"a", Place{1, last - maxRecent}}},
		{10*maxRecent + 1, Mark{"a", NoPlace()}},
	} {
		if got := m.without(0, tt.bytes, []Mark{{"a", Place{1, last}}}); got[0] != tt.want {
			t.Errorf("%d bytes: got %v, want %v", tt.bytes, got[0], tt.want)
		}
	}
	if len(m.recent) != maxRecent {
		t.Errorf("%d publications are remembered, want %d", len(m.recent), maxRecent)
	}
}
