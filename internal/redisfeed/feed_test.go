package redisfeed_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redisfeed"
	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
)

// follow subscribes to a feed, and returns the entries that it receives.
func follow(t *testing.T, f *redisfeed.Feed) <-chan string {
	t.Helper()
	stop, ended, heard := make(chan struct{}), make(chan struct{}), make(chan string, 1000)
	go func() { // ends with the test
		defer close(ended)
		f.Subscribe(stop, redisfeed.Subscriber{Receive: func(list [][]byte) {
			for _, e := range list {
				heard <- string(e)
			}
		}})
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	return heard
}

// hear waits for an entry.
func hear(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	case <-time.After(redistest.Patience):
		t.Fatalf("%q is not heard", want)
	}
}

// TestFeedRepeats: an entry that is announced twice is received twice.
func TestFeedRepeats(t *testing.T) {
	server := redistest.Start(t)
	ctx, f := t.Context(), open(t, server.URL())
	heard := follow(t, f)
	redistest.Until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	for _, entry := range []string{"kick", "kick", "end"} {
		if err := f.Publish(ctx, []byte(entry), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"kick", "kick", "end"} {
		hear(t, heard, want)
	}
}

// TestFeedRetained: who comes later hears what is kept, once, until its time is over; what is kept longer is heard
// anew.
func TestFeedKept(t *testing.T) {
	server := redistest.Start(t)
	ctx, f := t.Context(), open(t, server.URL())
	publish := func(entry string, until time.Time) {
		t.Helper()
		if err := f.Publish(ctx, []byte(entry), until); err != nil {
			t.Fatal(err)
		}
	}
	hour := time.Now().Add(time.Hour)
	publish("over", time.Now().Add(-time.Second))
	publish("not kept", time.Time{})
	publish("kept", hour)
	heard := follow(t, f)
	hear(t, heard, "kept")
	publish("kept", hour) // says nothing new
	publish("kept", hour.Add(time.Hour))
	publish("\x00:binary", hour)
	hear(t, heard, "kept")
	hear(t, heard, "\x00:binary")
	wantErr(t, "one that is too long", f.Publish(ctx, make([]byte, redisfeed.MaxEntry+1), hour), session.ErrTooLarge)
	if other := follow(t, openNamed(t, server.URL(), "others", 0)); len(other) != 0 {
		t.Error("another feed's entries are heard")
	}
}

// TestFeedTrouble: after the loss of a server, a subscriber receives what was stored meanwhile, and nothing twice.
func TestFeedTrouble(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	ctx, hour := t.Context(), time.Now().Add(time.Hour)
	f := open(t, server.URL())
	heard := follow(t, f)
	redistest.Until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	if err := f.Publish(ctx, []byte("before"), hour); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "before")
	server.Kill()
	wantErr(t, "Publish", f.Publish(ctx, []byte("lost"), hour), session.ErrUnavailable)
	server.Restart()
	other := open(t, server.URL())
	if err := other.Publish(ctx, []byte("meanwhile"), hour); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "meanwhile")
}

// TestFeedMany: many stored entries are received once each.
func TestFeedMany(t *testing.T) {
	const entries = 3000
	f := openPatient(t, redistest.Start(t).URL())
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for i := range entries / 10 {
				if err := f.Publish(t.Context(), fmt.Append(nil, part, "-", i), time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	heard := make(chan string, 2*entries)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		f.Subscribe(stop, redisfeed.Subscriber{Receive: func(list [][]byte) {
			for _, e := range list {
				heard <- string(e)
			}
		}})
	}()
	redistest.Until(t, "all are heard", func() bool { return len(heard) >= entries })
	close(stop)
	<-ended
	known := make(map[string]bool)
	for range len(heard) {
		e := <-heard
		if known[e] {
			t.Fatalf("%q is heard twice", e)
		}
		known[e] = true
	}
	if len(known) != entries {
		t.Errorf("got %d, want %d", len(known), entries)
	}
}

// TestFeedSlow: a slow subscriber does not delay publishers.
func TestFeedSlow(t *testing.T) {
	server := redistest.Start(t)
	f := open(t, server.URL())
	stop, ended, in, out := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		f.Subscribe(stop, redisfeed.Subscriber{Receive: func([][]byte) {
			select {
			case in <- struct{}{}:
			default:
			}
			<-out
		}})
	}()
	redistest.Until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	for range 2000 {
		if err := f.Publish(t.Context(), make([]byte, 1000), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	<-in
	if err := f.Publish(t.Context(), []byte("kept"), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	close(stop)
	close(out)
	<-ended
}

// TestFeedOfCluster: a feed in a cluster passes on stored and announced entries.
func TestFeedOfCluster(t *testing.T) {
	redistest.CheckClusterClients(t)
	cluster := redistest.StartCluster(t)
	ctx, f := t.Context(), open(t, cluster.URL())
	if err := f.Publish(ctx, []byte("kept"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	heard := follow(t, f)
	hear(t, heard, "kept")
	if err := f.Publish(ctx, []byte("live"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "live")
}

// TestFeedAfterFailover: a feed continues with the new primary after a failover.
func TestFeedAfterFailover(t *testing.T) {
	s := redistest.StartSentinel(t)
	f := open(t, s.URL())
	heard := follow(t, f)
	redistest.Until(t, "somebody listens", func() bool { return s.Primary.Do("PUBSUB", "CHANNELS") != "" })
	s.Primary.Kill()
	redistest.Until(t, "the new primary takes entries", func() bool {
		return f.Publish(t.Context(), []byte("kept"), time.Now().Add(time.Hour)) == nil
	})
	hear(t, heard, "kept")
}

// TestFeedExpires: every key expires.
func TestFeedExpires(t *testing.T) {
	server := redistest.Start(t)
	f := open(t, server.URL())
	if err := f.Publish(t.Context(), []byte("e"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	keys := strings.Fields(server.Do("KEYS", "*"))
	if len(keys) != 2 { // the entries and their mark
		t.Errorf("got %q", keys)
	}
	for _, key := range keys {
		if ttl := server.Do("PTTL", key); strings.HasPrefix(ttl, "-") {
			t.Errorf("%s: PTTL %s", key, ttl)
		}
	}
}
