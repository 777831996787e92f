package session_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/sessiontest"
)

// follow begins to follow a feed, and returns what is heard.
func follow(t *testing.T, f *session.Feed) <-chan string {
	t.Helper()
	stop, ended, heard := make(chan struct{}), make(chan struct{}), make(chan string, 1000)
	go func() { // ends with the test
		defer close(ended)
		f.Follow(stop, session.Follower{Heard: func(list [][]byte) {
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
	case <-time.After(patience):
		t.Fatalf("%q is not heard", want)
	}
}

// TestFeedRepeats: an order that is given twice is heard twice, and one that is kept is heard once.
func TestFeedRepeats(t *testing.T) {
	server := sessiontest.StartRedis(t)
	ctx, f := t.Context(), openRedis(t, server.URL(), session.RedisConfig{}).Feed("orders")
	heard := follow(t, f)
	until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	for _, entry := range []string{"kick", "kick", "end"} {
		if err := f.Publish(ctx, []byte(entry), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"kick", "kick", "end"} {
		hear(t, heard, want)
	}
}

// TestFeedKept: who comes later hears what is kept, once, until its time is over; what is kept longer is heard anew.
func TestFeedKept(t *testing.T) {
	r := openRedis(t, sessiontest.StartRedis(t).URL(), session.RedisConfig{})
	ctx, f := t.Context(), r.Feed("orders")
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
	wantErr(t, "one that is too long", f.Publish(ctx, make([]byte, session.MaxFeedEntry+1), hour), session.ErrTooLarge)
	if other := follow(t, r.Feed("others")); len(other) != 0 {
		t.Error("another feed's entries are heard")
	}
}

// TestFeedTrouble: after a server was lost, what was published meanwhile and is kept is heard, and what was heard is not.
func TestFeedTrouble(t *testing.T) {
	server := sessiontest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	ctx, hour := t.Context(), time.Now().Add(time.Hour)
	f := openRedis(t, server.URL(), session.RedisConfig{}).Feed("orders")
	heard := follow(t, f)
	until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	if err := f.Publish(ctx, []byte("before"), hour); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "before")
	server.Kill()
	wantErr(t, "Publish", f.Publish(ctx, []byte("lost"), hour), session.ErrUnavailable)
	server.Restart()
	other := openRedis(t, server.URL(), session.RedisConfig{}).Feed("orders")
	if err := other.Publish(ctx, []byte("meanwhile"), hour); err != nil {
		t.Fatal(err)
	}
	hear(t, heard, "meanwhile")
}

// TestFeedMany: what is kept is read in parts, all of it, once.
func TestFeedMany(t *testing.T) {
	const entries = 3000
	r := openRedis(t, sessiontest.StartRedis(t).URL(), session.RedisConfig{Timeout: patience})
	f := r.Feed("orders")
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
		f.Follow(stop, session.Follower{Heard: func(list [][]byte) {
			for _, e := range list {
				heard <- string(e)
			}
		}})
	}()
	until(t, "all are heard", func() bool { return len(heard) >= entries })
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

// TestFeedSlow: who listens slowly holds up nobody.
func TestFeedSlow(t *testing.T) {
	server := sessiontest.StartRedis(t)
	r := openRedis(t, server.URL(), session.RedisConfig{})
	f := r.Feed("orders")
	stop, ended, in, out := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		f.Follow(stop, session.Follower{Heard: func([][]byte) {
			select {
			case in <- struct{}{}:
			default:
			}
			<-out
		}})
	}()
	until(t, "somebody listens", func() bool { return server.Do("PUBSUB", "CHANNELS") != "" })
	for range 2000 {
		if err := f.Publish(t.Context(), make([]byte, 1000), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	<-in
	untilAnswers(t, r)
	close(stop)
	close(out)
	<-ended
}
