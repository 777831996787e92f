package redisplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
)

// TestSlot: slots are those of Redis.
func TestSlot(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	names := []string{"", "a", "{", "{}", "{a}", "x{a}y", "{}{a}", "{a", "a}", "}a{", "{{a}}", "123456789", "ä\x00\xff"}
	for range 200 {
		b := make([]byte, rand.IntN(40))
		for i := range b {
			b[i] = byte(rand.IntN(256))
		}
		names = append(names, string(b), "{"+string(b)+"}x")
	}
	for _, one := range names {
		if got, want := strconv.Itoa(int(slot(one))), server.Do("CLUSTER", "KEYSLOT", one); got != want {
			t.Errorf("%q: got slot %s, want %s", one, got, want)
		}
	}
}

// TestKeys: the keys of a topic are in the slot of its channel, and no two topics have the same.
func TestKeys(t *testing.T) {
	topics := []string{
		"", "a", "{", "}", "{}", "{a}", "x{a}y", "{}{a}", "{a", "a}", "}a{", "{{a}}", "a}b", "}{x}", "{}x}", "t", "t:s", "t:m",
		"{a}:s", "a}:s", "history:a", "{0}expedite:0:a}",
	}
	for range 100 {
		b := make([]byte, rand.IntN(6))
		for i := range b {
			b[i] = "{}a"[rand.IntN(3)]
		}
		topics = append(topics, string(b))
	}
	slices.Sort(topics)
	seen := make(map[string]string)
	for _, topic := range slices.Compact(topics) {
		for _, key := range keysOf("expedite:", "expedite:0:", topic) {
			if slot(key) != slot("expedite:0:"+topic) {
				t.Errorf("%q: the key %q is in another slot", topic, key)
			}
			if other, known := seen[key]; known {
				t.Errorf("%q and %q have the key %q", topic, other, key)
			}
			seen[key] = topic
		}
	}
}

// FuzzUnmark: any message of a channel is one that was published, or appended, or neither; published ones stay the same.
func FuzzUnmark(f *testing.F) {
	for _, one := range []string{"", "x", "\x00", "\x00\x00", "\x005 7 x", "\x005 7 ", "\x005 7", "\x005  x", "\x000 1 x"} {
		f.Add(one)
	}
	f.Fuzz(func(t *testing.T, text string) {
		payload, at, ok := unmark(escape([]byte(text)))
		if !ok || payload != text || at.Offset != 0 {
			t.Errorf("%q: published, got %q at %v", text, payload, at)
		}
		payload, at, ok = unmark(text)
		if !ok || at.Offset == 0 {
			return
		}
		again := fmt.Sprintf("\x00%d %d %s", at.Epoch, at.Offset, payload)
		if p, a, ok := unmark(again); !ok || p != payload || a != at {
			t.Errorf("%q: got %q at %v, want %q at %v", text, p, a, payload, at)
		}
	})
}

// places returns the server of each topic.
func places(t *testing.T, topics int, urls ...string) []string {
	t.Helper()
	r, err := New(urls, Config{})
	if err != nil {
		t.Fatal(err)
	}
	list := make([]string, topics)
	for i := range list {
		list[i] = strings.Join(r.shard("topic/"+strconv.Itoa(i)).server.option.InitAddress, ",")
	}
	return list
}

// TestPlaces: topics are spread over the servers, whatever their order, and few of them move if there is one more.
func TestPlaces(t *testing.T) {
	const topics = 10_000
	three := places(t, topics, "redis://a", "redis://b", "redis://c")
	turned := places(t, topics, "redis://user:pw@c:6379", "redis://a/0", "redis://b")
	four := places(t, topics, "redis://a", "redis://b", "redis://c", "redis://d")
	count, moved := make(map[string]int), 0
	for i := range topics {
		count[three[i]]++
		if three[i] != turned[i] {
			t.Fatalf("topic %d is at %s or at %s", i, three[i], turned[i])
		}
		if three[i] != four[i] {
			if moved++; four[i] != "d:6379" {
				t.Fatalf("topic %d has moved from %s to %s", i, three[i], four[i])
			}
		}
	}
	for at, n := range count {
		if n < topics/3*9/10 || n > topics/3*11/10 {
			t.Errorf("%s has %d of %d topics", at, n, topics)
		}
	}
	if len(count) != 3 || moved < topics/4*9/10 || moved > topics/4*11/10 {
		t.Errorf("%d servers are used; %d topics move", len(count), moved)
	}
}

// TestPlacesStay: other versions of this program, on other machines, have to agree about where a topic is.
func TestPlacesStay(t *testing.T) {
	var got strings.Builder
	for _, at := range places(t, 24, "redis://a", "redis://b", "redis+sentinel://c/main", "redis+cluster://d,e") {
		got.WriteString(at[:1])
	}
	const want = "cdbdacaacbacabccbbddacdd"
	if got.String() != want {
		t.Errorf("got %s, want %s", got.String(), want)
	}
}

// TestNew: invalid URLs and prefixes are refused, without secrets.
func TestNew(t *testing.T) {
	for _, tt := range []struct {
		urls   []string
		prefix string
		says   string
	}{
		{nil, "", "no URL"},
		{[]string{"redis://a", "redis://u:hunter2@"}, "", "URL 2: a host is missing"},
		{[]string{"redis://a", "redis://b", "redis://u:hunter2@a:6379/0"}, "", "URLs 1 and 3 have the same address"},
		{[]string{"redis+cluster://b,a", "redis+cluster://a:6379,b"}, "", "URLs 1 and 2 have the same address"},
		{[]string{"redis://a"}, "x{y", "braces in the prefix"},
		{[]string{"redis://a", "redis://a/1", "redis+cluster://a", "unix:///a"}, "", ""},
	} {
		r, err := New(tt.urls, Config{Prefix: tt.prefix})
		text := fmt.Sprint(err)
		if (err == nil) != (tt.says == "") || !strings.Contains(text, tt.says) || strings.Contains(text, "hunter2") {
			t.Errorf("%q: got %v, %v, want something of %q", tt.urls, r != nil, err, tt.says)
		}
	}
}
