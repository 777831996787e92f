package expedite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/rpc"
	"github.com/expedite-go/expedite/session"
)

// TestLiveInPages: a list of connections that is too long for one message comes in several, each connection once.
func TestLiveInPages(t *testing.T) {
	const clients, page = 300, 256
	d := openDoor(t, Config{})
	for i := range clients {
		d.enter(fmt.Sprintf("/?access_token=%s%d/1/99", strings.Repeat("u", 3000), i))
	}
	r, n := d.app.desk.Load().registry, d.app.node.Load()
	first := make(chan []liveConn, 1)
	n.live(liveRequest{Limit: page}, func(list []liveConn) { first <- list })
	if list := <-first; len(list) != page {
		t.Errorf("the first page: got %d connections, want %d", len(list), page)
	}
	list, err := r.live(t.Context(), "", page)
	if err == nil {
		var rest []session.Session
		rest, err = r.live(t.Context(), liveAfter(list[len(list)-1]), page)
		list = append(list, rest...)
	}
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[session.ID]bool)
	for _, s := range list {
		known[s.ID] = true
	}
	if len(list) != clients || len(known) != clients {
		t.Errorf("got %d, %d of them different, want %d", len(list), len(known), clients)
	}
	counted := make(chan int64, 1)
	n.count(func(connected int64) { counted <- connected })
	if got := <-counted; got != clients {
		t.Errorf("counted %d, want %d", got, clients)
	}
}

// TestWorkerThatFellBehind: a worker that has not carried out an order asks for everything, and is told so once.
func TestWorkerThatFellBehind(t *testing.T) {
	r, err := New(Config{}).newRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var greets atomic.Int64
	r.join(1, func(m []byte) error {
		const notice = 4 // kind, after four zero bytes
		if rpc.Is(m) && m[4] == notice && m[5] == opGreet {
			greets.Add(1)
			return nil
		}
		return errors.New("the queue is full")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*orderRetry)
	defer cancel()
	if _, err := r.obeyed(ctx, order{Kind: kindConn, Value: ID(1).String()}); err == nil {
		t.Error("an order that no worker has heard is carried out")
	}
	for range 2 {
		r.tellAgain()
	}
	if got := greets.Load(); got != 1 {
		t.Errorf("it was told %d times, want once", got)
	}
}

// TestPages: what is too long for a page is in several, and out of turn there is none.
func TestPages(t *testing.T) {
	r, err := New(Config{}).newRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const denials = 2*pageBytes/4000 + 1
	for i := range denials {
		o := order{Kind: "user", Value: fmt.Sprint(strings.Repeat("u", 4000), i), Until: time.Now().Add(time.Hour)}
		if d, ok := o.denial(); !ok || r.deny.Add(d, time.Now()) != nil {
			t.Fatal("not a denial")
		}
	}
	for id := range uint64(pageFollows + 1) {
		r.logs.readers[id] = &reader{follow: follow{ID: id}}
	}
	w := new(workerPeer)
	if _, err := w.page(r, 5); err == nil {
		t.Error("there is a page before the first")
	}
	seen, follows := 0, 0
	for at, pages := 0, 1; ; pages++ {
		p, err := w.page(r, at)
		if err != nil {
			t.Fatal(err)
		}
		list, err := parseDenials(p.Denials)
		if err != nil || len(p.Denials) > pageBytes+5000 || len(p.Follows) > pageFollows {
			t.Fatalf("a page of %d bytes and %d follows, %v", len(p.Denials), len(p.Follows), err)
		}
		seen += len(list)
		follows += len(p.Follows)
		if at = p.Next; at == 0 {
			if pages < 3 {
				t.Errorf("got %d pages", pages)
			}
			break
		}
	}
	if seen != denials || follows != pageFollows+1 {
		t.Errorf("got %d denials and %d follows, want %d and %d", seen, follows, denials, pageFollows+1)
	}
}
