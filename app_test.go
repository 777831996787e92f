package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/control"
)

// patience bounds every wait in these tests.
const patience = 60 * time.Second

// testRedis is the environment variable that gives the workers of a test their Redis.
const testRedis = "EXPEDITE_TEST_REDIS"

// TestMain is the tests, and each worker that they start.
func TestMain(m *testing.M) {
	if cluster.IsWorker() {
		if err := obedient(Config{Sessions: Sessions{Redis: os.Getenv(testRedis)}}).Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// wish is what a client of the obedient app asks it to do.
type wish struct {
	Send, Close ID
	Except      ID
	Count       string
	Join, Leave string // topics of Of
	Of          Who
	User, Topic string
	Text        string
}

func countText(n int, err error) string { return fmt.Sprint(n, " ", err) }

// obedient is an app that does what its clients say, by the methods of App.
func obedient(cfg Config) *App {
	cfg.Presence = presenceRules()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if cfg.Backplane == nil {
		cfg.History = testHistory()
	}
	app := New(cfg)
	app.Handle("/", Handler{
		Authorize: func(r *http.Request, id *auth.Identity) error {
			if id.User = r.URL.Query().Get("user"); id.User == "" {
				return Refuse(http.StatusUnauthorized, "who are you?")
			}
			return nil
		},
		Open: func(c *Conn) {
			if topic := c.Query().Get("topic"); topic != "" {
				if err := c.Subscribe(topic); err != nil {
					_ = c.Close(1011, err.Error())
				}
			}
			c.Send(Text(fmt.Sprintf(`{"id":"%s","worker":%d}`, c.ID(), app.Slot())))
		},
		Message: func(c *Conn, m Message) {
			var o wish
			err := json.Unmarshal(m.Bytes(), &o)
			switch {
			case err != nil:
			case o.Send != 0:
				err = app.Send(o.Send, Text(o.Text))
			case o.Close != 0:
				err = app.CloseConn(o.Close, 4000, o.Text)
			case o.Join != "":
				err = app.Subscribe(o.Of, o.Join)
			case o.Leave != "":
				err = app.Unsubscribe(o.Of, o.Leave)
			case o.Count != "":
				n, err := app.Subscribers(context.Background(), o.Count)
				c.Send(Text(countText(n, err)))
			case o.User != "":
				err = app.SendUser(o.User, Text(o.Text))
			default:
				err = c.Publish(o.Topic, Text(o.Text), Except(o.Except))
			}
			if err != nil {
				c.Send(Text(err.Error()))
			}
		},
		Suspend: func(c *Conn) ([]byte, error) {
			if c.Query().Get("stay") != "" {
				return nil, errors.New("this one stays")
			}
			return []byte(c.User()), nil
		},
		Resume: func(c *Conn, state []byte) error {
			if string(state) != c.User() {
				return fmt.Errorf("state %q of user %q", state, c.User())
			}
			return nil
		},
	})
	handleData(app)
	handleGaps(app)
	handlePaths(app)
	handleHistory(app)
	handleRooms(app)
	handleLimits(app)
	handlePresence(app)
	if os.Getenv(testBackground) != "" {
		handleBackground(app)
	}
	return app
}

// run runs an app until the test ends, and returns its address.
func run(t *testing.T, cfg Config) (addr string) {
	t.Helper()
	addr, _ = runApp(t, cfg)
	return addr
}

// runApp is run for tests that want more of the app than its address.
func runApp(t *testing.T, cfg Config) (addr string, app *App) {
	t.Helper()
	started := make(chan Started, 1)
	cfg.Addr, cfg.DrainTimeout, cfg.WorkerOutput = "127.0.0.1:0", 5*time.Second, io.Discard
	cfg.OnStart = func(s Started) { started <- s }
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	app = obedient(cfg)
	go func() { ended <- app.Run(ctx) }()
	t.Cleanup(func() {
		cancel(ErrStopNow)
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case s := <-started:
		return s.Addresses[0], app
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the app does not start")
	}
	return "", nil
}

// visitor is a client of the obedient app.
type visitor struct {
	t    *testing.T
	conn *websocket.Conn
	ID   ID
	Slot int `json:"worker"`
}

func visit(t *testing.T, addr, query string) *visitor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	v := &visitor{t: t, conn: conn}
	if err := json.Unmarshal([]byte(v.hear()), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *visitor) say(o wish) {
	v.t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		v.t.Fatal(err)
	}
	if err := v.conn.Write(v.t.Context(), websocket.MessageText, b); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) hear() string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	_, b, err := v.conn.Read(ctx)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b)
}

func (v *visitor) want(text string) {
	v.t.Helper()
	if got := v.hear(); got != text {
		v.t.Errorf("heard %q, want %q", got, text)
	}
}

// TestReach: an app reaches any connection in any worker, by id, user and topic, and in a process by itself.
func TestReach(t *testing.T) {
	for name, workers := range map[string]int{"one process": -1, "three workers": 3} {
		t.Run(name, func(t *testing.T) {
			addr := run(t, Config{Workers: workers})
			alice := visit(t, addr, "user=alice&topic=news")
			bob := visit(t, addr, "user=bob&topic=news")
			again := visit(t, addr, "user=alice")
			if workers > 1 && (alice.Slot == bob.Slot || bob.Slot == again.Slot) {
				t.Errorf("all in one worker: %d, %d, %d", alice.Slot, bob.Slot, again.Slot)
			}
			bob.say(wish{Send: alice.ID, Text: "to alice"})
			alice.want("to alice")
			bob.say(wish{User: "alice", Text: "to both"})
			alice.want("to both")
			again.want("to both")
			again.say(wish{Topic: "news", Text: "to all"})
			alice.want("to all")
			bob.want("to all")
			bob.say(wish{Send: newTestID(), Text: "to nobody"}) // no error, no answer
			bob.say(wish{Topic: "\x00user:bob", Text: "forged"})
			bob.want(ErrTopic.Error())
			bob.say(wish{Close: alice.ID, Text: "go"})
			_, _, err := alice.conn.Read(t.Context())
			if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != 4000 || got.Reason != "go" {
				t.Errorf("alice: %v, want close code 4000", err)
			}
		})
	}
}

func newTestID() ID { return ID(connid.New(0, 1)) }

// TestTwoApps: two apps in one process do not know of each other.
func TestTwoApps(t *testing.T) {
	one, two := run(t, Config{Workers: -1}), run(t, Config{Workers: -1})
	a, b := visit(t, one, "user=a&topic=x"), visit(t, two, "user=a&topic=x")
	a.say(wish{Topic: "x", Text: "one"})
	b.say(wish{Topic: "x", Text: "two"})
	a.want("one")
	b.want("two")
}

// TestRefusal: the word of Authorize is the answer to the client.
func TestRefusal(t *testing.T) {
	addr := run(t, Config{Workers: -1})
	_, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %v, want 401", err)
	}
}

// TestWrongPaths: what is wrong with endpoints is told by Run, and nothing starts.
func TestWrongPaths(t *testing.T) {
	app := New(Config{Addr: "127.0.0.1:0", Workers: -1})
	app.Handle("chat", Handler{})
	app.Handle("/chat", Handler{})
	app.Handle("/chat", Handler{})
	err := app.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"chat"`) || !strings.Contains(err.Error(), "already") {
		t.Errorf("got %v, want both faults", err)
	}
	if err := app.Publish("x", Text("y")); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Publish: got %v, want ErrNotRunning", err)
	}
}

// TestID: the text form of an id reads back, and anything else is refused.
func TestID(t *testing.T) {
	id := ID(connid.New(0, 7))
	if got, err := ParseID(id.String()); err != nil || got != id || connid.ID(id).Slot() != 7 {
		t.Errorf("got %v, %v of slot %d; want %v of slot 7", got, err, connid.ID(id).Slot(), id)
	}
	for _, s := range []string{"", "1", "000000000000000g", "00000000000000001"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q): got no error", s)
		}
	}
}

// tally is the Data of /tally.
type tally struct {
	Said  []string
	Moves int
}

// handleData serves endpoints whose connections hold data. Each answers a message with what it holds by then.
func handleData(app *App) {
	add := func(t *tally, m Message) Message {
		t.Said = append(t.Said, m.String())
		return Text(fmt.Sprint(t.Said, t.Moves))
	}
	app.Handle("/tally", Handler{
		State:   Carry[tally](),
		Message: func(c *Conn, m Message) { c.Send(add(c.Data().(*tally), m)) },
	})
	app.Handle("/tally/inline", Handler{
		Inline:  true,
		State:   Carry[tally](),
		Suspend: func(c *Conn) ([]byte, error) { c.Data().(*tally).Moves++; return []byte("moved"), nil },
		Resume: func(c *Conn, state []byte) error {
			c.Data().(*tally).Said = append(c.Data().(*tally).Said, string(state))
			return nil
		},
		Message: func(c *Conn, m Message) { c.Send(add(c.Data().(*tally), m)) },
	})
	hold := func(c *Conn, m Message) {
		c.SetData(m.String())
		c.Send(m)
	}
	app.Handle("/held", Handler{Message: hold})
	app.Handle("/held/inline", Handler{Inline: true, Message: hold})
	app.Handle("/resumed", Handler{
		Message: hold,
		Resume:  func(c *Conn, state []byte) error { c.SetData(fmt.Sprintf("again %q", state)); return nil },
		Close:   func(*Conn, *CloseError) {},
		Drain:   func(*Conn) {},
	})
}

// handleGaps serves subscribers of a topic each: some have Gap, some do not.
func handleGaps(app *App) {
	for _, topic := range []string{"news", "weather"} {
		open := func(c *Conn) {
			_ = c.Subscribe(topic)
			c.Send(Text(strconv.Itoa(app.Slot())))
		}
		app.Handle("/gap/"+topic, Handler{
			QueueLimit: 1 << 30, Open: open,
			Gap: func(c *Conn, topic string, missed uint64) { c.Send(Text(fmt.Sprint("gap ", topic, " ", missed))) },
		})
		app.Handle("/deaf/"+topic, Handler{QueueLimit: 1 << 30, Open: open})
	}
}

// wantStatus asks for the status, once, and compares the connections.
func wantStatus(t *testing.T, app *App, connections int64) control.Status {
	t.Helper()
	st, err := app.role.Load().control.Status(t.Context())
	if err != nil || st.Totals.Connections != connections {
		t.Errorf("status: %d connections, %v; want %d", st.Totals.Connections, err, connections)
	}
	return st
}
