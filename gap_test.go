//go:build linux

package expedite

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
)

// subscriber is a client of a path of handleGaps in a slot.
func subscriber(t *testing.T, addr, path, slot string) *visitor {
	t.Helper()
	for range 50 {
		v := talk(t, addr, path)
		if v.hear() == slot {
			v.conn.SetReadLimit(-1)
			return v
		}
		_ = v.conn.CloseNow()
	}
	t.Fatalf("no connection to worker %s", slot)
	return nil
}

// number is what stands before the padding of a publication.
func number(text string) string {
	n, _, _ := strings.Cut(text, " ")
	return n
}

// TestStoppedWorker: what a worker could not take while it stood still is told to those of its connections that were
// subscribed, between what came before and what came after.
func TestStoppedWorker(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 2})
	news, deaf := subscriber(t, addr, "/gap/news", "2"), subscriber(t, addr, "/deaf/news", "2")
	weather, deafWeather := subscriber(t, addr, "/gap/weather", "2"), subscriber(t, addr, "/deaf/weather", "2")
	elsewhere := subscriber(t, addr, "/deaf/news", "1")
	st := wantStatus(t, app, 5)
	pid := st.Workers[1].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	st = wantStatus(t, app, 5)
	// It may have answered once more before it stood still, and the other one may be slow.
	for deadline := time.Now().Add(patience); (!st.Workers[1].Stale || st.Workers[0].Stale) && time.Now().Before(deadline); {
		st = wantStatus(t, app, 5)
	}
	if !st.Workers[1].Stale || st.Workers[1].Connections != 4 || st.Workers[0].Stale {
		t.Errorf("while worker 2 stands still: got %+v", st.Workers)
	}
	goOn := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(goOn)
	padding := strings.Repeat("x", 64<<10)
	published, missed := 0, func() uint64 { return app.role.Load().bus.(*broker.Hub).Stats().Dropped[2] }
	publish := func() {
		published++
		if err := app.Publish("news", Text(fmt.Sprint(published, " ", padding))); err != nil {
			t.Fatal(err)
		}
		if got := number(elsewhere.hear()); got != strconv.Itoa(published) {
			t.Fatalf("the other worker: got %s, want %d", got, published)
		}
	}
	for missed() < 10 {
		if publish(); published > 10_000 {
			t.Fatal("the queue does not fill")
		}
	}
	before, lost := published-10, missed()
	goOn()
	for k := 1; k <= before; k++ {
		if got := number(news.hear()); got != strconv.Itoa(k) {
			t.Fatalf("got %s, want %d", got, k)
		}
		deaf.hear()
	}
	news.want(fmt.Sprint("gap news ", lost)) // nothing more has to be published for that
	deaf.wantClosed(websocket.StatusTryAgainLater)
	publish()
	if got := number(news.hear()); got != strconv.Itoa(published) {
		t.Errorf("after the gap: got %s, want %d", got, published)
	}
	if err := app.Publish("weather", Text("rain")); err != nil {
		t.Fatal(err)
	}
	weather.want("rain")
	deafWeather.want("rain")
	for range 2 { // a count of the slot is not one of each of its processes
		if _, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{}); err != nil {
			t.Fatal(err)
		}
		st = wantStatus(t, app, 4)
		if got := st.Totals.Limits["worker_queue"]; got != lost || st.Workers[1].Limits["worker_queue"] != lost {
			t.Errorf("worker_queue is %d after a reload, want %d: %+v", got, lost, st.Workers)
		}
	}
}
