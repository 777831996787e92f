package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
)

// tap returns a Tap in front of a JSON handler with level info.
func tap(w io.Writer) (*Tap, *slog.Logger) {
	t := NewTap(slog.NewJSONHandler(w, nil))
	return t, slog.New(t)
}

func follow(t *testing.T, tap *Tap, o SubscribeOptions) *Subscriber {
	t.Helper()
	f, err := tap.Subscribe(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// waiting returns the lines in the queue of a subscriber.
func waiting(f *Subscriber) (lines []string) {
	for range len(f.C()) {
		lines = append(lines, string(<-f.C()))
	}
	return lines
}

// TestHandlersConform checks that the handlers follow the rules of package slog, alone and in a chain.
func TestHandlersConform(t *testing.T) {
	for name, chain := range map[string]func(slog.Handler) slog.Handler{
		"tap":           func(h slog.Handler) slog.Handler { return NewTap(h) },
		"redactor":      func(h slog.Handler) slog.Handler { return NewRedactor(h) },
		"redactor, tap": func(h slog.Handler) slog.Handler { return NewRedactor(NewTap(h)) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			slogtest.Run(t, func(*testing.T) slog.Handler {
				b.Reset()
				return chain(slog.NewJSONHandler(&b, nil))
			}, func(t *testing.T) map[string]any { return object(t, b.Bytes()) })
		})
	}
	var last *Tap
	slogtest.Run(t, func(*testing.T) slog.Handler {
		last = NewTap(slog.NewTextHandler(io.Discard, nil))
		return last
	}, func(t *testing.T) map[string]any { return object(t, last.Recent()[0]) })
}

func object(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return m
}

// TestTapKeepsWhatIsWritten checks that the recent lines equal those of the next handler.
func TestTapKeepsWhatIsWritten(t *testing.T) {
	var b bytes.Buffer
	tap, log := tap(&b)
	log.Info("a", "worker", 1)
	log.Debug("not enabled")
	child := log.With("conn", "c1", "v", []int{1}).WithGroup("g").With("x", 1)
	child.Warn("b", "y", "<&>")
	child.WithGroup("").With().Error("c")
	var got strings.Builder
	for _, line := range tap.Recent() {
		got.Write(line)
		got.WriteByte('\n')
	}
	if got.String() != b.String() || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("got\n%s\nwant\n%s", got.String(), b.String())
	}
}

// TestRecentIsBounded checks the limits in lines and bytes, and that a long line is shortened.
func TestRecentIsBounded(t *testing.T) {
	tap, log := tap(io.Discard)
	for i := range 1000 {
		log.Info("m", "i", i)
	}
	recent := tap.Recent()
	if n := len(recent); n != maxRecent || object(t, recent[0])["i"] != 744.0 || object(t, recent[n-1])["i"] != 999.0 {
		t.Errorf("got %d lines, first %s, last %s", n, recent[0], recent[n-1])
	}
	for i := range 50 {
		log.Info("m", "i", i, "text", strings.Repeat("x", 7<<10))
	}
	recent = tap.Recent()
	if n := len(recent); n != 9 || object(t, recent[n-1])["i"] != 49.0 {
		t.Errorf("got %d lines of 7 KiB, want 9, as many as are in 64 KiB", n)
	}
	log.Warn(strings.Repeat("é", maxMessage), "text", strings.Repeat("x", maxLogLine))
	recent = tap.Recent()
	last := object(t, recent[len(recent)-1])
	if msg := last["msg"].(string); !strings.HasPrefix(msg, "éé") || !strings.HasSuffix(msg, "…") || len(msg) > maxMessage+3 {
		t.Errorf("message: got %q", msg)
	}
	if n := last["shortened"].(float64); n < maxLogLine || last["level"] != "WARN" || tap.Shortened() != 1 {
		t.Errorf("got %v, %d shortened", last, tap.Shortened())
	}
	if _, err := time.Parse(time.RFC3339, last["time"].(string)); err != nil {
		t.Error(err)
	}
}

// TestSubscribersHaveLevels checks that each subscriber gets its level, even below that of the next handler.
func TestSubscribersHaveLevels(t *testing.T) {
	var b bytes.Buffer
	tap, log := tap(&b)
	ctx := t.Context()
	if log.Enabled(ctx, slog.LevelDebug) {
		t.Error("debug is enabled, and nobody wants it")
	}
	all, warnings := follow(t, tap, SubscribeOptions{Level: slog.LevelDebug}), follow(t, tap, SubscribeOptions{Level: slog.LevelWarn})
	if !log.Enabled(ctx, slog.LevelDebug) || log.Enabled(ctx, slog.LevelDebug-1) {
		t.Error("enabled: want debug, which a subscriber wants, and nothing below")
	}
	child := log.With("worker", 1) // handlers created before the subscription are included
	log.Debug("d")
	child.Info("i")
	child.Warn("w")
	all.Close()
	all.Close()
	log.Debug("d")
	log.Error("e")
	messages := func(lines []string) (s string) {
		for _, l := range lines {
			s += object(t, []byte(l))["msg"].(string)
		}
		return s
	}
	if got := messages(waiting(all)); got != "diw" {
		t.Errorf("subscriber of all: got %q, want diw", got)
	}
	if _, open := <-all.C(); open {
		t.Error("the channel of a closed subscriber is open")
	}
	if got := messages(waiting(warnings)); got != "we" {
		t.Errorf("subscriber of warnings: got %q, want we", got)
	}
	if got := messages(strings.Split(strings.TrimSpace(b.String()), "\n")); got != "iwe" {
		t.Errorf("next handler: got %q, want iwe", got)
	}
	if got := len(tap.Recent()); got != 3 {
		t.Errorf("recent: got %d lines, want the 3 of the next handler", got)
	}
}

// TestSlowSubscriber checks that nothing waits for a slow subscriber, and that lost lines are counted.
func TestSlowSubscriber(t *testing.T) {
	tap, log := tap(io.Discard)
	slow, other := follow(t, tap, SubscribeOptions{Queue: 2}), follow(t, tap, SubscribeOptions{})
	for i := range 5 {
		log.Info("m", "i", i)
	}
	if got := waiting(slow); len(got) != 2 || slow.Lost() != 3 || object(t, []byte(got[1]))["i"] != 1.0 {
		t.Errorf("got %q, %d lost, want the first 2 and 3 lost", got, slow.Lost())
	}
	if got := waiting(other); len(got) != 5 || other.Lost() != 0 || tap.Lost() != 3 {
		t.Errorf("other subscriber: got %d lines, %d lost, in all %d", len(got), other.Lost(), tap.Lost())
	}
}

func TestFollowersAreFew(t *testing.T) {
	tap, _ := tap(io.Discard)
	var first *Subscriber
	for range maxSubscribers {
		f := follow(t, tap, SubscribeOptions{Queue: 1 << 30})
		if first == nil {
			first = f
		}
	}
	if _, err := tap.Subscribe(SubscribeOptions{}); !errors.Is(err, ErrTooManySubscribers) {
		t.Errorf("got %v, want ErrTooManyFollowers", err)
	}
	first.Close()
	follow(t, tap, SubscribeOptions{})
}

// TestValuesThatLog checks that a value that logs while it is logged does not deadlock.
func TestValuesThatLog(t *testing.T) {
	tap, log := tap(io.Discard)
	f := follow(t, tap, SubscribeOptions{})
	log.Info("outer", "v", talkative{log})
	if got := strings.Join(waiting(f), "\n"); strings.Count(got, "inner") < 1 || strings.Count(got, "outer") != 1 {
		t.Errorf("got\n%s", got)
	}
}

type talkative struct{ log *slog.Logger }

func (v talkative) LogValue() slog.Value {
	v.log.Info("inner")
	return slog.IntValue(1)
}

// TestTapConcurrently checks that lines stay whole while subscribers come and go.
func TestTapConcurrently(t *testing.T) {
	tap, log := tap(io.Discard)
	stop := make(chan struct{})
	var writers, subscribers sync.WaitGroup
	for g := range 4 {
		writers.Go(func() {
			l := log.With("g", g)
			for i := range 500 {
				l.Info("m", "i", i, "text", strings.Repeat(fmt.Sprint(g), i))
				l.Debug("d")
			}
		})
		subscribers.Go(func() {
			for {
				f, err := tap.Subscribe(SubscribeOptions{Level: slog.LevelDebug, Queue: 8})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					f.Close()
					return
				case line := <-f.C():
					if !json.Valid(line) {
						t.Errorf("got %q, want JSON", line)
					}
				}
				f.Close()
				_ = tap.Recent()
			}
		})
	}
	writers.Wait()
	close(stop)
	subscribers.Wait()
	for _, line := range tap.Recent() {
		if g := object(t, line)["g"]; strings.Trim(object(t, line)["text"].(string), fmt.Sprint(g)) != "" {
			t.Errorf("got a line of several: %s", line)
		}
	}
}

// TestWholeChain checks that the tap and the file get redacted lines only.
func TestWholeChain(t *testing.T) {
	var b bytes.Buffer
	base, err := NewLogger(&b, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	tap := NewTap(base.Handler())
	log := slog.New(NewRedactor(tap, "pin")).With("worker", 1, "conn", "00ab", "cookie", planted)
	f := follow(t, tap, SubscribeOptions{Level: slog.LevelDebug})
	log.Info("open", "path", "/chat?access_token="+planted, "pin", planted)
	log.Debug("sent", "text", "Bearer "+planted)
	recent := bytes.Join(tap.Recent(), []byte("\n"))
	live := strings.Join(waiting(f), "\n")
	all := string(recent) + live + b.String()
	if strings.Contains(all, planted) || strings.Count(all, "00ab") != 4 || !strings.Contains(live, "Bearer [redacted]") {
		t.Errorf("got\n%s", all)
	}
	if !(Filter{Conn: "00ab", Worker: 1, Level: "info"}).Match(recent) {
		t.Errorf("a line is not found by its attributes: %s", recent)
	}
}

func BenchmarkTap(b *testing.B) {
	for name, prepare := range map[string]func(*Tap){
		"no follower": func(*Tap) {},
		"follower": func(t *Tap) {
			f, err := t.Subscribe(SubscribeOptions{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(f.Close)
		},
	} {
		b.Run(name, func(b *testing.B) {
			tap := NewTap(handled{})
			prepare(tap)
			r := usualRecord()
			b.ReportAllocs()
			for b.Loop() {
				_ = tap.Handle(b.Context(), r)
			}
		})
	}
}
