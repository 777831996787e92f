package expedite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
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
	if err := New(c).Check(); err != nil {
		t.Errorf("with Redis: got %v", err)
	}
	c.Backplane = struct{ backplane.Backplane }{} // which has no other methods
	if err := New(c).Check(); err == nil || !strings.Contains(err.Error(), "backplane.History") {
		t.Errorf("with a backplane that keeps nothing: got %v", err)
	}
}
