package expedite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/engine"
)

// handleLimits serves endpoints with limits that give a burst and then nothing for the length of any test.
func handleLimits(app *App) {
	user := func(r *http.Request, id *auth.Identity) error {
		id.User = r.URL.Query().Get("user")
		return nil
	}
	publish := func(c *Conn, m Message) {
		if err := c.Publish("nobody", m); err != nil {
			m = Text(err.Error())
		}
		c.Send(m)
	}
	rarely := EventRate{PerSecond: 1e-6, Burst: 2}
	for name, inline := range map[string]bool{"": false, "-inline": true} {
		app.Handle("/publishes"+name, Handler{Inline: inline, PublishRate: rarely, Message: publish})
		app.Handle("/rated"+name, Handler{Inline: inline, MessageRate: rarely, Message: publish})
	}
	app.Handle("/two", Handler{Authorize: user, MaxPerUser: 2, Message: publish})
	app.Handle("/any", Handler{Authorize: user, MaxPerUser: -1, Message: publish})
}

// TestLimitsMove checks that what a client has used up is used up after a move to another process too.
func TestLimitsMove(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	var publishers, rated []*asker
	for _, name := range []string{"", "-inline"} {
		publishers = append(publishers, callPath(t, addr, "/publishes"+name))
		rated = append(rated, callPath(t, addr, "/rated"+name))
	}
	for range 2 {
		for i := range publishers {
			publishers[i].ask("x", "x")
			rated[i].ask("x", "x")
		}
		res, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
		if err != nil || res.Moved != 4 {
			t.Fatalf("reload: %+v, %v; want 4 moved", res, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range publishers {
		publishers[i].ask("x", ErrRate.Error())
		if err := rated[i].conn.Write(ctx, websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_, _, err := rated[i].conn.Read(ctx)
		if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != websocket.StatusPolicyViolation {
			t.Errorf("got %v, want close code 1008", err)
		}
	}
}

// TestMaxPerUser checks that a user has at most as many connections as allowed, of all endpoints, one by one and many at
// once, before and after a reload.
func TestMaxPerUser(t *testing.T) {
	for _, workers := range []int{-1, 1} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			addr, app := runApp(t, Config{Workers: workers})
			first := callPath(t, addr, "/two?user=a")
			callPath(t, addr, "/any?user=a").ask("x", "x")
			callPath(t, addr, "/any?user=a").ask("x", "x") // this endpoint has no limit
			callPath(t, addr, "/two?user=b").ask("x", "x")
			callPath(t, addr, "/two").ask("x", "x") // anonymous
			refused := func() {
				t.Helper()
				_, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/two?user=a", nil)
				if err == nil || resp == nil || resp.StatusCode != http.StatusTooManyRequests {
					t.Errorf("got %v, want 429", err)
				}
			}
			refused()
			if workers > 0 {
				res, err := app.role.Load().control.Reload(
					t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
				if err != nil || res.Moved != 5 {
					t.Fatalf("reload: %+v, %v; want 5 moved", res, err)
				}
			}
			first.ask("x", "x")
			refused()
			if st := wantStatus(t, app, 5); st.Totals.Limits["per_user"] != 2 {
				t.Errorf("counted %d of per_user, want 2", st.Totals.Limits["per_user"])
			}
		})
	}
}

// TestMaxPerUserAtOnce checks that handshakes at the same time do not get around the limit.
func TestMaxPerUserAtOnce(t *testing.T) {
	addr := run(t, Config{Workers: -1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const count = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	served := 0
	for range count {
		wg.Go(func() {
			conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/two?user=a", nil)
			if err != nil {
				return // 429
			}
			t.Cleanup(func() { _ = conn.CloseNow() })
			if conn.Write(ctx, websocket.MessageText, []byte("x")) != nil {
				return
			}
			if _, _, err := conn.Read(ctx); err == nil {
				mu.Lock()
				served++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if served != 2 {
		t.Errorf("%d connections are served, want 2", served)
	}
}

// TestLimitsInForce checks which limits apply to a handler: its own, or those of Config.
func TestLimitsInForce(t *testing.T) {
	c := &Config{
		MaxMessage: 10, MaxFragments: 20, MaxPerUser: 30, MessageRate: EventRate{1, 2}, OverRate: RateDrop,
		PublishRate: EventRate{3, 4},
	}
	for _, tt := range []struct {
		name      string
		h         Handler
		c         *Config
		message   int64
		fragments int
		user      int
		rate      engine.EventRate
		policy    engine.RatePolicy
		publish   engine.EventRate
	}{
		{"none", Handler{}, &Config{}, 1 << 20, 1024, 0, engine.EventRate{}, 0, engine.EventRate{}},
		{"those of Config", Handler{}, c, 10, 20, 30, engine.EventRate{PerSecond: 1, Burst: 2}, engine.RateDrop, engine.EventRate{PerSecond: 3, Burst: 4}},
		{
			"its own", Handler{
				MaxMessage: 11, MaxFragments: 21, MaxPerUser: 31, MessageRate: EventRate{5, 6}, PublishRate: EventRate{7, 8},
			}, c, 11, 21, 31, engine.EventRate{PerSecond: 5, Burst: 6}, engine.RateClose, engine.EventRate{PerSecond: 7, Burst: 8},
		},
		{
			"switched off",
			Handler{MaxPerUser: -1, MessageRate: EventRate{-1, 0}, PublishRate: EventRate{-1, 0}},
			c, 10, 20, 0,
			engine.EventRate{PerSecond: -1},
			engine.RateClose,
			engine.EventRate{PerSecond: -1},
		},
	} {
		rate, policy := tt.h.messageRate(tt.c)
		if tt.h.maxMessage(tt.c) != tt.message || tt.h.maxFragments(tt.c) != tt.fragments ||
			tt.h.maxPerUser(tt.c) != tt.user || rate != tt.rate || policy != tt.policy ||
			tt.h.PublishRate.or(tt.c.PublishRate) != tt.publish {
			t.Errorf("%s: got %d, %d, %d, %v, %d, %v", tt.name, tt.h.maxMessage(tt.c), tt.h.maxFragments(tt.c),
				tt.h.maxPerUser(tt.c), rate, policy, tt.h.PublishRate.or(tt.c.PublishRate))
		}
	}
}

// TestWrongRates checks that Run refuses rates that cannot work.
func TestWrongRates(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Config.MessageRate": {MessageRate: EventRate{PerSecond: math.NaN()}},
		"Config.PublishRate": {PublishRate: EventRate{Burst: 5}},
		"Config.ConnectRate": {ConnectRate: EventRate{PerSecond: 1, Burst: -1}},
		"negative":           {MaxPerUser: -1},
	} {
		if err := New(cfg).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for want, h := range map[string]Handler{
		"the handler of /x: Handler.MessageRate": {MessageRate: EventRate{PerSecond: math.Inf(1)}},
		"the handler of /x: Handler.OverRate":    {OverRate: 9},
		"the handler of /x: Handler.PublishRate": {PublishRate: EventRate{Burst: -1}},
	} {
		app := New(Config{})
		app.Handle("/x", h)
		if err := app.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
