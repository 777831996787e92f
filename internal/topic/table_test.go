package topic

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// model is a straightforward implementation of the table.
type model map[string]map[uint32]bool

func (m model) topicsOf(i uint32) []string {
	var list []string
	for name, members := range m {
		if members[i] {
			list = append(list, name)
		}
	}
	return slices.Sorted(slices.Values(list))
}

func (m model) leave(name string, i uint32) {
	delete(m[name], i)
	if len(m[name]) == 0 {
		delete(m, name)
	}
}

func (m model) size() (n int) {
	for _, members := range m {
		n += len(members)
	}
	return n
}

// topicNames returns more than twice as many names as make a connection large.
func topicNames() []string {
	var names []string
	for i := range 2*few + 4 {
		names = append(names, fmt.Sprint("t", i))
	}
	return names
}

// TestModel: after any operations, the table holds the same as a map of sets.
func TestModel(t *testing.T) {
	names := topicNames()
	rapid.Check(t, func(rt *rapid.T) {
		table, want := New(), model{}
		index := rapid.IntRange(0, len(names)-1)
		conns := rapid.Uint32Range(0, 6)
		subscribe := func(name string, i uint32) {
			if got := table.Subscribe(name, i); got == want[name][i] {
				rt.Fatalf("Subscribe(%q, %d): got %v, want %v", name, i, got, !want[name][i])
			}
			if want[name] == nil {
				want[name] = make(map[uint32]bool)
			}
			want[name][i] = true
		}
		unsubscribe := func(name string, i uint32) {
			if got := table.Unsubscribe(name, i); got != want[name][i] {
				rt.Fatalf("Unsubscribe(%q, %d): got %v, want %v", name, i, got, want[name][i])
			}
			want.leave(name, i)
		}
		each := func(do func(string, uint32)) func(*rapid.T) { // from a topic to the next few, wrapping around
			return func(rt *rapid.T) {
				from, n := index.Draw(rt, "from"), index.Draw(rt, "topics")
				i := conns.Draw(rt, "connection")
				for k := range n {
					do(names[(from+k)%len(names)], i)
				}
			}
		}
		one := func(do func(string, uint32)) func(*rapid.T) {
			return func(rt *rapid.T) { do(names[index.Draw(rt, "topic")], conns.Draw(rt, "connection")) }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"subscribe":        one(subscribe),
			"subscribe many":   each(subscribe),
			"unsubscribe":      one(unsubscribe),
			"unsubscribe many": each(unsubscribe),
			"drop": func(rt *rapid.T) {
				i := conns.Draw(rt, "connection")
				table.Drop(i)
				for _, name := range want.topicsOf(i) {
					want.leave(name, i)
				}
			},
			"": func(rt *rapid.T) { compare(rt, table, want) },
		})
	})
}

func compare(rt *rapid.T, table *Table, want model) {
	for _, name := range append(topicNames(), "never") {
		got := slices.Sorted(slices.Values(table.Members(name)))
		w := slices.Sorted(maps.Keys(want[name]))
		if !slices.Equal(got, w) || table.Len(name) != len(w) {
			rt.Fatalf("Members(%q): got %v (Len %d), want %v", name, got, table.Len(name), w)
		}
	}
	large := 0
	for i := range uint32(8) {
		got, w := slices.Sorted(table.Topics(i)), want.topicsOf(i)
		if !slices.Equal(got, w) || table.Count(i) != len(w) {
			rt.Fatalf("Topics(%d): got %v (Count %d), want %v", i, got, table.Count(i), w)
		}
		if len(w) > few {
			large += len(w)
		}
	}
	if got := len(table.large); got != large {
		rt.Fatalf("subscriptions of large connections: got %d, want %d", got, large)
	}
	if got, w := len(table.ids), len(want); got != w {
		rt.Fatalf("topics: got %d, want %d", got, w)
	}
	if got, w := table.NumSubscriptions(), want.size(); got != w {
		rt.Fatalf("NumSubscriptions: got %d, want %d", got, w)
	}
	used := len(table.subs) - 1
	for at := table.free; at != 0; at = table.subs[at].next {
		used--
	}
	if used != want.size() {
		rt.Fatalf("subscriptions in use: got %d, want %d", used, want.size())
	}
}

// TestReuse: what is removed makes room for what is added, and a steady state does not allocate.
func TestReuse(t *testing.T) {
	table := New()
	table.Subscribe("kept", 9)
	turn := func() {
		for i := range uint32(8) {
			table.Subscribe("kept", i)
		}
		table.Unsubscribe("kept", 3)
		for i := range uint32(8) {
			table.Drop(i)
		}
	}
	turn()
	subs := len(table.subs)
	if got := testing.AllocsPerRun(100, turn); got != 0 {
		t.Errorf("got %v allocations a turn, want 0", got)
	}
	if got := len(table.subs); got != subs {
		t.Errorf("got %d subscriptions, want %d", got, subs)
	}
	for k := range 100 { // topics that come and go reuse the same slot
		name := fmt.Sprint("passing ", k)
		table.Subscribe(name, 0)
		table.Drop(0)
	}
	if got := len(table.topics); got != 2 {
		t.Errorf("got room for %d topics, want 2", got)
	}
}

// TestMemory: an index with one subscription takes at most 40 bytes.
func TestMemory(t *testing.T) {
	table := New()
	for i := range uint32(100_000) {
		table.Subscribe("lobby", i)
	}
	lobby := table.topics[0]
	bytes := cap(table.conns)*int(unsafe.Sizeof(conn{})) + cap(table.subs)*int(unsafe.Sizeof(sub{})) +
		4*(cap(lobby.members)+cap(lobby.subs))
	if got := float64(bytes) / 100_000; got > 40 {
		t.Errorf("got %.1f bytes a subscription, want at most 40", got)
	}
}

// TestTopicsStop: an iteration may end early.
func TestTopicsStop(t *testing.T) {
	table := New()
	for _, name := range []string{"a", "b", "c"} {
		table.Subscribe(name, 1)
	}
	n := 0
	for range table.Topics(1) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d topics, want 1", n)
	}
}

// BenchmarkSubscribe builds a table. It measures the time and memory of a subscription.
func BenchmarkSubscribe(b *testing.B) {
	for _, c := range []struct {
		name               string
		connections, names int
	}{
		{"100k connections, 1 topic", 100_000, 1},
		{"10k connections, 10 topics", 10_000, 10},
		{"1 connection, 10k topics", 1, 10_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			names := make([]string, c.names)
			for i := range names {
				names[i] = fmt.Sprint("topic ", i)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var table *Table
			for b.Loop() {
				table = New()
				for i := range c.connections {
					for _, name := range names {
						table.Subscribe(name, uint32(i))
					}
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			n := float64(table.NumSubscriptions())
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/subscription")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/subscription")
			runtime.KeepAlive(table)
		})
	}
}

// BenchmarkDrop removes a connection with 10 topics from the table and adds it again, among 10,000 of its kind.
func BenchmarkDrop(b *testing.B) {
	table := New()
	var names []string
	for k := range 10 {
		names = append(names, fmt.Sprint("topic ", k))
		for i := range uint32(10_000) {
			table.Subscribe(names[k], i)
		}
	}
	var i uint32
	for b.Loop() {
		table.Drop(i)
		for _, name := range names {
			table.Subscribe(name, i)
		}
		i = (i + 1) % 10_000
	}
}
