package expedite

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/redistest"
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
		go func() { // ends when it has heard the last message
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
			case <-c:
				first = false
			case <-tick.C:
				all[0].say(wish{Topic: topic, Text: "is anybody there?"})
			}
		}
		tick.Stop()
	}
	all[0].say(wish{Topic: topic, Text: "last"})
	for _, c := range heard {
		for text := ""; text != "last"; text = <-c {
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
