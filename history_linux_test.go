package expedite

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

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
