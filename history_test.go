package expedite

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// testHistory are the rules of the obedient app. The topics kept.* show their positions, long.* are long.
func testHistory() []HistoryRule {
	show := func(_ string, at Position, m Message) Message { return Text(fmt.Sprintf("%d %s", at.Offset, m)) }
	return []HistoryRule{
		{Topics: "kept.*", Messages: 5, For: time.Hour, Frame: show},
		{Topics: "long.*", Messages: 10_000, For: time.Hour},
	}
}

// resume is what a client of handleHistory asks for.
type resume struct {
	Topic string
	From  string // a Position
	Last  int
	Leave bool // unsubscribe
}

// handleHistory serves clients that subscribe from a position. Each message is answered with the outcome.
func handleHistory(app *App) {
	tell := func(c *Conn, topic string, r Recovered) {
		c.Send(Text(fmt.Sprintf("%s: ok %v, missed %d, at %s", topic, r.OK, r.Missed, r.At)))
	}
	message := func(c *Conn, m Message) {
		var o resume
		if err := m.Decode(&o); err != nil {
			c.Send(Text(err.Error()))
			return
		}
		if o.Leave {
			c.Send(Text(fmt.Sprint("left ", c.Unsubscribe(o.Topic))))
			return
		}
		from := Recover{Last: o.Last}
		if at, err := ParsePosition(o.From); err == nil {
			from.Epoch, from.Offset = at.Epoch, at.Offset
		}
		r, err := c.SubscribeFrom(o.Topic, from)
		switch {
		case err != nil:
			c.Send(Text(err.Error()))
		case !r.Pending:
			tell(c, o.Topic, r)
		}
	}
	app.Handle("/history", Handler{Message: message, Recovered: tell})
	app.Handle("/history/inline", Handler{Inline: true, Message: message, Recovered: tell})
}

func (v *visitor) resume(o resume) {
	v.t.Helper()
	b, err := json.Marshal(o)
	if err == nil {
		err = v.conn.Write(v.t.Context(), 1, b)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// at returns the position in an outcome.
func (v *visitor) at() (outcome string, at Position) {
	v.t.Helper()
	text := v.hear()
	outcome, position, _ := strings.Cut(text, ", at ")
	at, err := ParsePosition(position)
	if err != nil {
		v.t.Fatalf("heard %q", text)
	}
	return outcome, at
}

// outcome waits for an outcome, and compares it.
func (v *visitor) outcome(want string) (at Position) {
	v.t.Helper()
	got, at := v.at()
	if got != want {
		v.t.Errorf("heard %q, want %q", got, want)
	}
	return at
}

func publishAll(t *testing.T, app *App, topic string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := app.Publish(topic, Text(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistory: a client gets what it has missed, and then what is published, in workers and in a process by itself.
func TestHistory(t *testing.T) {
	for _, workers := range []int{2, -1} {
		for _, path := range []string{"/history", "/history/inline"} {
			t.Run(fmt.Sprint(workers, path), func(t *testing.T) {
				addr, app := runApp(t, Config{Workers: workers})
				v := talk(t, addr, path)
				v.resume(resume{Topic: "kept.a"})
				first := v.outcome("kept.a: ok true, missed 0")
				publishAll(t, app, "kept.a", "a", "b")
				v.want("1 a")
				v.want("2 b")
				v.resume(resume{Topic: "kept.a", Leave: true})
				v.want("left true")
				publishAll(t, app, "kept.a", "c", "d", "e", "f")
				seen := Position{first.Epoch, 2}
				v.resume(resume{Topic: "kept.a", From: seen.String()})
				for _, text := range []string{"3 c", "4 d", "5 e", "6 f"} {
					v.want(text)
				}
				if at := v.outcome("kept.a: ok true, missed 4"); at != (Position{first.Epoch, 6}) {
					t.Errorf("got %v", at)
				}
				publishAll(t, app, "kept.a", "g")
				v.want("7 g")
				v.resume(resume{Topic: "kept.a", From: Position{first.Epoch, 6}.String()}) // in place of the subscription
				v.want("7 g")
				v.outcome("kept.a: ok true, missed 1")
				for what, from := range map[string]Position{
					"no longer kept": {first.Epoch, 1}, "the future": {first.Epoch, 8}, "another epoch": {first.Epoch + 1, 7},
				} {
					v.resume(resume{Topic: "kept.a", From: from.String()})
					if at := v.outcome("kept.a: ok false, missed 0"); at != (Position{first.Epoch, 7}) {
						t.Errorf("%s: got %v", what, at)
					}
				}
				publishAll(t, app, "kept.a", "h")
				v.want("8 h")
				v.resume(resume{Topic: "kept.b", Last: 9})
				v.outcome("kept.b: ok true, missed 0")
				v.resume(resume{Topic: "kept.a", Last: 2})
				v.want("7 g")
				v.want("8 h")
				v.outcome("kept.a: ok true, missed 2")
				v.resume(resume{Topic: "none"})
				v.want(ErrNoHistory.Error())
				v.resume(resume{})
				v.want(ErrTopic.Error())
				if st := wantStatus(t, app, 1); st.History == nil || st.History.Messages != 5 || st.History.Topics != 2 ||
					st.History.Events["recovered"] == 0 {
					t.Errorf("status: got %+v", st.History)
				}
			})
		}
	}
}

// TestLongHistory: what is longer than a page, or than the queue of a client, arrives in order, while more is published.
func TestLongHistory(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	padding := strings.Repeat("x", 1000)
	const before, all = 3000, 4000
	for i := range before {
		publishAll(t, app, "long.a", fmt.Sprint(i+1, " ", padding))
	}
	v := talk(t, addr, "/history")
	v.resume(resume{Topic: "long.a", Last: before})
	for i := before; i < all; i++ {
		publishAll(t, app, "long.a", fmt.Sprint(i+1, " ", padding))
	}
	next := 0
	for next < all {
		text := v.hear()
		if outcome, at, ok := strings.Cut(text, ", at "); ok {
			if !strings.HasPrefix(outcome, "long.a: ok true, missed ") || at == "" {
				t.Errorf("got %q", text)
			}
			continue
		}
		got := number(text)
		if next == 0 {
			_, _ = fmt.Sscan(got, &next) // the newest at the time of the question
			next--
		}
		if next++; got != fmt.Sprint(next) {
			t.Fatalf("got %s, want %d", got, next)
		}
	}
}

// TestPositionText: positions are texts for clients.
func TestPositionText(t *testing.T) {
	for _, p := range []Position{{}, {1, 2}, {1<<64 - 1, 1<<64 - 1}} {
		if got, err := ParsePosition(p.String()); err != nil || got != p {
			t.Errorf("got %v, %v, want %v", got, err, p)
		}
	}
	for _, s := range []string{"", "1", ":", "1:", ":1", "1:2:3", "-1:2", "1:18446744073709551616", "x:1"} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

// TestCheckHistory: Run refuses rules that make no sense.
func TestCheckHistory(t *testing.T) {
	for what, r := range map[string]HistoryRule{
		"no pattern":    {Messages: 1, For: time.Minute},
		"no messages":   {Topics: "a", For: time.Minute},
		"too many":      {Topics: "a", For: time.Minute, Messages: maxKept + 1},
		"no time":       {Topics: "a", Messages: 1},
		"reserved name": {Topics: "\x00a", Messages: 1, For: time.Minute},
	} {
		if err := New(Config{History: []HistoryRule{r}}).Check(); err == nil || !strings.Contains(err.Error(), "Config.History") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	c := Config{History: testHistory(), Sessions: Sessions{Redis: "redis://127.0.0.1:1"}}
	if err := New(c).Check(); err == nil || errors.Is(err, ErrTopic) {
		t.Errorf("with Redis: got %v", err)
	}
}
