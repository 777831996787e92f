package topic

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the table as anyone would write it.
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

// TestModel: whatever is done, the table holds what a map of sets would hold.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table, want := New(), model{}
		names := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		indexes := rapid.Uint32Range(0, 6)
		rt.Repeat(map[string]func(*rapid.T){
			"subscribe": func(rt *rapid.T) {
				name, i := names.Draw(rt, "topic"), indexes.Draw(rt, "connection")
				if got := table.Subscribe(name, i); got == want[name][i] {
					rt.Fatalf("Subscribe(%q, %d): got %v, want %v", name, i, got, !want[name][i])
				}
				if want[name] == nil {
					want[name] = make(map[uint32]bool)
				}
				want[name][i] = true
			},
			"unsubscribe": func(rt *rapid.T) {
				name, i := names.Draw(rt, "topic"), indexes.Draw(rt, "connection")
				if got := table.Unsubscribe(name, i); got != want[name][i] {
					rt.Fatalf("Unsubscribe(%q, %d): got %v, want %v", name, i, got, want[name][i])
				}
				want.leave(name, i)
			},
			"drop": func(rt *rapid.T) {
				i := indexes.Draw(rt, "connection")
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
	for _, name := range []string{"a", "b", "c", "d", "e", "never"} {
		got := slices.Sorted(slices.Values(table.Members(name)))
		if w := slices.Sorted(maps.Keys(want[name])); !slices.Equal(got, w) {
			rt.Fatalf("Members(%q): got %v, want %v", name, got, w)
		}
	}
	for i := range uint32(8) {
		got, w := slices.Sorted(table.Topics(i)), want.topicsOf(i)
		if !slices.Equal(got, w) || table.Count(i) != len(w) {
			rt.Fatalf("Topics(%d): got %v (Count %d), want %v", i, got, table.Count(i), w)
		}
	}
	if got, w := table.NumTopics(), len(want); got != w {
		rt.Fatalf("NumTopics: got %d, want %d", got, w)
	}
	if got, w := table.NumSubscriptions(), want.size(); got != w {
		rt.Fatalf("NumSubscriptions: got %d, want %d", got, w)
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

func BenchmarkSubscribe(b *testing.B) {
	for _, c := range []struct {
		name               string
		connections, names int
	}{{"100k connections, 1 topic", 100_000, 1}, {"1 connection, 1k topics", 1, 1000}} {
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
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(table.NumSubscriptions()), "B/subscription")
			runtime.KeepAlive(table)
		})
	}
}
