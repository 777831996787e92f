package expedite

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/internal/registry"
)

// town is a number of machines with the same Redis, or one machine without.
type town struct {
	addrs []string
	apps  []*App
	redis *redistest.Server
}

// towns are the sizes of a service that tests of its reach run with. More than one worker makes processes of them.
func towns(t *testing.T, test func(t *testing.T, tn *town)) {
	for name, size := range map[string]struct{ machines, workers int }{
		"one process":               {1, -1},
		"two workers":               {1, 2},
		"two machines":              {2, -1},
		"two machines with workers": {2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			tn := new(town)
			cfg := Config{Workers: size.workers}
			if size.machines > 1 {
				tn.redis = redistest.Start(t)
				cfg.Sessions.Redis = tn.redis.URL()
				t.Setenv(testRedis, cfg.Sessions.Redis)
			}
			for range size.machines {
				addr, app := runApp(t, cfg)
				tn.addrs, tn.apps = append(tn.addrs, addr), append(tn.apps, app)
			}
			test(t, tn)
		})
	}
}

// visit connects a client to the i-th machine, or to the only one.
func (tn *town) visit(t *testing.T, i int, query string) *visitor {
	t.Helper()
	return visit(t, tn.addrs[i%len(tn.addrs)], query)
}

// meet waits until all of them hear what the first one publishes on a topic.
func (tn *town) meet(t *testing.T, topic string, all ...*visitor) {
	t.Helper()
	heard := make([]chan string, len(all))
	for i, v := range all {
		heard[i] = make(chan string)
		go func() { // ends when it has heard the last message, or nothing for too long
			defer close(heard[i])
			for {
				text := v.hear()
				heard[i] <- text
				if text == "last" {
					return
				}
			}
		}()
	}
	for _, c := range heard {
		tick := time.NewTicker(20 * time.Millisecond)
		for first := true; first; {
			select {
			case _, ok := <-c:
				if first = false; !ok {
					t.FailNow() // it has said why
				}
			case <-tick.C:
				all[0].say(wish{Topic: topic, Text: "is anybody there?"})
			}
		}
		tick.Stop()
	}
	all[0].say(wish{Topic: topic, Text: "last"})
	for _, c := range heard {
		for range c { // up to the last one
		}
	}
}

// nobody is a publisher whose messages reach nobody.
type nobody struct{ excepted uint64 }

func (*nobody) SendTo(uint64, byte, []byte) error      { return nil }
func (*nobody) CloseConn(uint64, uint16, string) error { return nil }

func (n *nobody) PublishExcept(_ string, _ byte, _ []byte, except uint64) error {
	n.excepted = except
	return nil
}

// TestPublishOptionsAllocateNothing: neither their absence nor they themselves cost an allocation.
func TestPublishOptionsAllocateNothing(t *testing.T) {
	app, bus := New(Config{}), new(nobody)
	app.role.Store(&role{bus: bus})
	m := Text("hello")
	for name, publish := range map[string]func(){
		"none":   func() { _ = app.Publish("t", m) },
		"Except": func() { _ = app.Publish("t", m, Except(7)) },
	} {
		if n := testing.AllocsPerRun(100, publish); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
	_ = app.Publish("t", m, Except(7), PublishOption{})
	if bus.excepted != 7 {
		t.Errorf("got the exception %d, want 7", bus.excepted)
	}
}

// TestExcept: a publication reaches all subscribers but the connection that is left out, wherever both are.
func TestExcept(t *testing.T) {
	towns(t, func(t *testing.T, tn *town) {
		a, b, c := tn.visit(t, 0, "user=a&topic=t"), tn.visit(t, 1, "user=b&topic=t"), tn.visit(t, 1, "user=c&topic=t")
		all := []*visitor{a, b, c}
		tn.meet(t, "t", all...)
		a.say(wish{Topic: "t", Text: "not to a", Except: a.ID})
		a.say(wish{Topic: "t", Text: "not to b", Except: b.ID})
		a.say(wish{Topic: "t", Text: "not to a stranger", Except: newTestID()})
		a.say(wish{Topic: "t", Text: "to all"})
		for _, v := range all {
			if v != a {
				v.want("not to a")
			}
			if v != b {
				v.want("not to b")
			}
			v.want("not to a stranger")
			v.want("to all")
		}
	})
}

// know waits until all machines know each other.
func (tn *town) know(t *testing.T) {
	t.Helper()
	if tn.redis == nil {
		return
	}
	for _, app := range tn.apps {
		until(t, "the machines know each other", func() bool {
			list, err := app.role.Load().control.Nodes(t.Context())
			return err == nil && len(list.Nodes) == len(tn.apps)
		})
	}
}

// TestSubscribers: the subscribers of all workers and machines are counted, asked in a worker or in a primary.
func TestSubscribers(t *testing.T) {
	towns(t, func(t *testing.T, tn *town) {
		tn.know(t)
		asker := tn.visit(t, 0, "user=a")
		count := func(want string) {
			t.Helper()
			asker.say(wish{Count: "t"})
			asker.want(want)
			for _, app := range tn.apps {
				n, err := app.Subscribers(t.Context(), "t")
				if got := countText(n, err); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		}
		count("0 <nil>")
		var all []*visitor
		for i := range 7 {
			all = append(all, tn.visit(t, i, "user=b&topic=t"))
		}
		tn.visit(t, 1, "user=c&topic=other")
		count("7 <nil>")
		_ = all[0].conn.Close(websocket.StatusNormalClosure, "")
		until(t, "one is gone", func() bool {
			n, err := tn.apps[0].Subscribers(t.Context(), "t")
			return n == 6 && err == nil
		})
		count("6 <nil>")
		if _, err := tn.apps[0].Subscribers(t.Context(), "\x00user:b"); !errors.Is(err, ErrTopic) {
			t.Errorf("a reserved topic: got %v, want ErrTopic", err)
		}
		if tn.redis != nil {
			tn.redis.Kill()
			n, err := tn.apps[0].Subscribers(t.Context(), "t")
			if incomplete, ok := errors.AsType[*IncompleteError](err); !ok || n != 3 || len(incomplete.Missing) == 0 {
				t.Errorf("without Redis: got %d, %v; want those of this machine", n, err)
			}
		}
	})
}

// TestSubscribersWhileTheyMove: nobody is counted twice, and nobody is left out.
func TestSubscribersWhileTheyMove(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 2})
	const crowd = 40
	for range crowd {
		visit(t, addr, "user=a&topic=t")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	moved := make(chan error, 1)
	go func() { // ends with the reloads
		var err error
		for range 2 {
			_, e := app.role.Load().control.Reload(ctx, control.ReloadRequest{KeepPrimary: true}, control.Discard{})
			err = errors.Join(err, e)
		}
		moved <- err
	}()
	for asked := 0; ; asked++ {
		if n, err := app.Subscribers(ctx, "t"); n != crowd || err != nil {
			t.Errorf("question %d: got %d, %v; want %d", asked, n, err, crowd)
		}
		select {
		case err := <-moved:
			if err != nil {
				t.Error(err)
			}
			t.Logf("asked %d times", asked+1)
			return
		default:
		}
	}
}

// TestSubscribeOthers: the server subscribes users and connections to topics, wherever they are, and ends that.
func TestSubscribeOthers(t *testing.T) {
	towns(t, func(t *testing.T, tn *town) {
		tn.know(t)
		a, b, c := tn.visit(t, 0, "user=a"), tn.visit(t, 1, "user=b&topic=t"), tn.visit(t, 1, "user=b")
		here := tn.visit(t, 0, "user=b")
		tn.meet(t, "t", b)
		members := func(topic string, want int) {
			t.Helper()
			until(t, "the subscribers are counted", func() bool {
				n, err := tn.apps[0].Subscribers(t.Context(), topic)
				return n == want && err == nil
			})
		}
		a.say(wish{Of: Who{User: "b"}, Join: "user"})
		members("user", 3)
		a.say(wish{Of: Who{Conn: c.ID}, Join: "conn"})
		members("conn", 1)
		a.say(wish{Of: Who{Conn: a.ID}, Join: "own"})
		a.say(wish{Topic: "own", Text: "at once"}) // in order on this machine
		a.want("at once")
		a.say(wish{Of: Who{User: "b", Except: c.ID}, Join: "except"})
		members("except", 2)
		a.say(wish{Of: Who{User: "b"}, Join: "t"})
		members("t", 3)
		tn.meet(t, "user", b, c, here)
		a.say(wish{Of: Who{User: "b"}, Leave: "user"})
		members("user", 0)
		a.say(wish{Of: Who{Conn: c.ID}, Leave: "conn"})
		members("conn", 0)
		for what, want := range map[string]error{"none": tn.apps[0].Subscribe(Who{}, "t"), "two": tn.apps[0].Subscribe(
			Who{User: "a", Conn: a.ID}, "t"), "a token": tn.apps[0].Unsubscribe(Who{User: "a", TokenID: "x"}, "t")} {
			if !errors.Is(want, registry.ErrTarget) {
				t.Errorf("%s: got %v, want ErrTarget", what, want)
			}
		}
		if err := tn.apps[0].Subscribe(Who{User: "a"}, "\x00user:b"); !errors.Is(err, ErrTopic) {
			t.Errorf("a reserved topic: got %v, want ErrTopic", err)
		}
		members("nobody", 0)
	})
}

// TestReachOfMachines: an app reaches users and connections on any machine, and closes, kicks and revokes them there.
func TestReachOfMachines(t *testing.T) {
	towns(t, func(t *testing.T, tn *town) {
		a, b, c := tn.visit(t, 0, "user=a&topic=t"), tn.visit(t, 1, "user=b&topic=t"), tn.visit(t, 1, "user=c&topic=t")
		d := tn.visit(t, 1, "user=d&topic=t")
		tn.meet(t, "t", a, b, c, d)
		a.say(wish{Send: b.ID, Text: "to one"})
		b.want("to one")
		a.say(wish{User: "b", Text: "to a user"})
		b.want("to a user")
		ends := func(v *visitor, want websocket.StatusCode) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for {
				if _, _, err := v.conn.Read(ctx); err != nil {
					if got := websocket.CloseStatus(err); got != want {
						t.Errorf("got %v, want close code %d", err, want)
					}
					return
				}
			}
		}
		a.say(wish{Close: b.ID, Text: "go"})
		ends(b, 4000)
		if _, err := tn.apps[0].Kick(t.Context(), Who{Conn: c.ID}, "enough"); err != nil {
			t.Error(err)
		}
		ends(c, 4403)
		if _, err := tn.apps[0].Revoke(t.Context(), Who{User: "d"}, time.Hour); err != nil {
			t.Error(err)
		}
		ends(d, 4401)
		a.say(wish{Topic: "t", Text: "alone"})
		a.want("alone")
	})
}

// TestAMachineIsMissing: a machine that does not answer is named.
func TestAMachineIsMissing(t *testing.T) {
	e := &IncompleteError{Missing: []string{"one (a1): it has not answered", "two (b2): it is starting"}}
	if got := e.Error(); !strings.Contains(got, "one (a1)") || !strings.Contains(got, "two (b2)") {
		t.Errorf("got %q, want both machines", got)
	}
}
