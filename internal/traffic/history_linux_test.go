package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
)

// reader is a client of /kept that remembers its position.
type reader struct {
	s        *server
	path     string
	at       expedite.Position
	book     *book
	recovers int // outcomes
	missed   int
}

// book has what readers have got, by offset: all of them must have got the same.
type book struct {
	mu    sync.Mutex
	texts map[uint64]string
}

func (b *book) note(offset uint64, text string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before, ok := b.texts[offset]; ok && before != text {
		return fmt.Errorf("offset %d is %q here and %q elsewhere", offset, text, before)
	}
	b.texts[offset] = text
	return nil
}

func (r *reader) dial(ctx context.Context) (*websocket.Conn, error) {
	url := fmt.Sprintf("ws://%s%s?topic=kept.live&at=%s", r.s.addr, r.path, r.at)
	if r.at.Epoch == 0 {
		url = fmt.Sprintf("ws://%s%s?topic=kept.live", r.s.addr, r.path)
	}
	conn, _, err := websocket.Dial(ctx, url, nil)
	return conn, err
}

// read reads a message, and checks that it is the next one.
func (r *reader) read(ctx context.Context, conn *websocket.Conn) (text string, err error) {
	_, b, err := conn.Read(ctx)
	if err != nil {
		return "", fmt.Errorf("after %v: %w", r.at, err)
	}
	if rest, ok := strings.CutPrefix(string(b), outcome); ok {
		var good bool
		var missed int
		var position string
		if _, err := fmt.Sscan(rest, &good, &missed, &position); err != nil || !good {
			return "", fmt.Errorf("after %v: %s", r.at, b)
		}
		at, err := expedite.ParsePosition(position)
		if err != nil || r.at.Epoch != 0 && r.path == pathAway && at != r.at { // elsewhere, more may have come meanwhile
			return "", fmt.Errorf("after %v: %s, %w", r.at, b, err)
		}
		r.recovers++
		r.missed += missed
		if r.at.Epoch == 0 {
			r.at = at
		}
		return "", nil
	}
	position, text, _ := strings.Cut(string(b), " ")
	at, err := expedite.ParsePosition(position)
	if next := (expedite.Position{Epoch: r.at.Epoch, Offset: r.at.Offset + 1}); err != nil || r.at.Epoch != 0 && at != next {
		return "", fmt.Errorf("got %.60q after %v", b, r.at)
	}
	r.at = at
	return text, r.book.note(at.Offset, text)
}

// comeAndGo connects again and again while something is published, as running tells, and once more after last has sent
// an offset, for everything up to that.
func (r *reader) comeAndGo(ctx, running context.Context, last <-chan uint64) error {
	for until, over := uint64(0), false; !over; {
		select {
		case until = <-last:
			over = true
		default:
			if running.Err() != nil {
				until, over = <-last, true
			}
		}
		conn, err := r.dial(ctx)
		if err != nil {
			return err
		}
		// It mostly stays until it has caught up, and for some messages more.
		outcomes, impatient, more := r.recovers, rand.IntN(4) == 0, rand.IntN(50)
		for over && r.at.Offset < until || !over && more > 0 {
			life := running
			if over {
				life = ctx
			}
			_, err := r.read(life, conn)
			if err != nil && (over || running.Err() == nil) {
				_ = conn.CloseNow()
				return err
			}
			if err != nil {
				break // nothing more is published
			}
			if impatient || r.recovers > outcomes {
				more--
			}
		}
		_ = conn.CloseNow()
	}
	return nil
}

// publish publishes numbered messages, fifty at a time, until stop is closed, and returns how many. It reads all messages
// up to its own latest one before it publishes more.
func (r *reader) publish(ctx context.Context, name string, stop <-chan struct{}) (n int, err error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow()
	for r.recovers == 0 {
		if _, err := r.read(ctx, conn); err != nil {
			return 0, err
		}
	}
	for own := 0; ; {
		select {
		case <-stop:
			return n, nil
		default:
		}
		for range 50 {
			n++
			if err := conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "%s %d", name, n)); err != nil {
				return n, err
			}
		}
		for own < n {
			text, err := r.read(ctx, conn)
			if err != nil {
				return n, err
			}
			var k int
			if from, number, _ := strings.Cut(text, " "); from == name {
				if _, err := fmt.Sscan(number, &k); err != nil || k != own+1 {
					return n, fmt.Errorf("got %q after %d", text, own)
				}
				own = k
			}
		}
	}
}

// TestHistoryUnderTraffic: clients that come and go all the time get every message exactly once and in order, while
// workers and the primary are replaced.
func TestHistoryUnderTraffic(t *testing.T) {
	s := launch(t, "", serverConfig{Workers: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 4*forever)
	defer cancel()
	running, ended := context.WithCancel(ctx)
	defer ended()
	b := &book{texts: make(map[uint64]string)}
	newReader := func(i int) *reader {
		return &reader{s: s, path: []string{pathKept, pathAway}[i%2], book: b}
	}
	stop := make(chan struct{})
	var publishers, readers sync.WaitGroup
	var sent [2]int
	stays := []*reader{newReader(0), newReader(1)}
	for i, r := range stays {
		publishers.Go(func() {
			n, err := r.publish(ctx, fmt.Sprint("p", i), stop)
			if err != nil {
				t.Errorf("publisher %d: %v", i, err)
			}
			sent[i] = n
		})
	}
	last := make(chan uint64)
	restless := make([]*reader, 12)
	for i := range restless {
		restless[i] = newReader(i)
		readers.Go(func() {
			if err := restless[i].comeAndGo(ctx, running, last); err != nil {
				t.Errorf("reader %d: %v", i, err)
				<-last
			}
		})
	}
	for i := range 8 {
		res, err := s.reload(control.ReloadRequest{KeepPrimary: i%2 == 1})
		if err != nil || res.Failed+res.Drained != 0 {
			t.Errorf("reload %d: %+v, %v", i+1, res, err)
		}
	}
	close(stop)
	ended()
	publishers.Wait()
	all := uint64(sent[0] + sent[1])
	for range restless {
		select {
		case last <- all:
		case <-ctx.Done():
			t.Fatal("the readers do not end")
		}
	}
	readers.Wait()
	recovers, missed := 0, 0
	for _, r := range restless {
		recovers, missed = recovers+r.recovers, missed+r.missed
	}
	t.Logf("%d messages, %d recoveries of %d messages, with 8 reloads", all, recovers, missed)
	if missed < 1000 || recovers < 50 {
		t.Errorf("got %d recoveries of %d messages, want more", recovers, missed)
	}
	b.check(t, sent[:])
}

// check checks that all messages of publishers were got, each one once.
func (b *book) check(t *testing.T, sent []int) {
	t.Helper()
	next := make([]int, len(sent))
	for offset := uint64(1); offset <= uint64(len(b.texts)); offset++ {
		var name string
		var n, p int
		text, ok := b.texts[offset]
		_, err := fmt.Sscan(text, &name, &n)
		if _, err2 := fmt.Sscanf(name, "p%d", &p); !ok || err != nil || err2 != nil || p >= len(sent) || n != next[p]+1 {
			t.Fatalf("offset %d: got %q, want the next of %v", offset, text, next)
		}
		next[p] = n
	}
	for p, n := range sent {
		if next[p] != n {
			t.Errorf("publisher %d: got %d messages, want %d", p, next[p], n)
		}
	}
}
