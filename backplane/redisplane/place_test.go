package redisplane

import (
	"fmt"
	"math/rand/v2"
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
