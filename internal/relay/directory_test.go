package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// announced is a machine in the directory of a medium.
type announced struct {
	about string
	until time.Time
}

func (p *plane) Announce(_ context.Context, m backplane.Machine, lease time.Duration) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return 0, backplane.ErrOverloaded
	}
	if p.known == nil {
		p.known = make(map[string]announced)
	}
	p.known[m.Name] = announced{string(m.About), time.Now().Add(lease)}
	p.forget()
	return len(p.known), nil
}

// forget removes machines whose lease has ended.
func (p *plane) forget() {
	maps.DeleteFunc(p.known, func(_ string, a announced) bool { return !time.Now().Before(a.until) })
}

func (p *plane) Withdraw(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, name)
	return nil
}

func (p *plane) Machines(context.Context) (list []backplane.Machine, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return nil, backplane.ErrOverloaded
	}
	p.forget()
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		list = append(list, backplane.Machine{Name: name, About: []byte(p.known[name].about)})
	}
	return list, nil
}

// introduce makes a machine answer with its number and the question.
func (k *machine) introduce() {
	k.Introduce(Self{
		About: func() []byte { return fmt.Append(nil, "about ", k.Node) },
		Answer: func(ctx context.Context, q Question) ([]byte, error) {
			switch string(q.Data) {
			case "fail":
				return nil, errors.New("no idea")
			case "long":
				return make([]byte, MaxAnswer+1), nil
			case "wait":
				<-ctx.Done()
				<-time.After(time.Second)
			}
			return fmt.Appendf(nil, "%d: %d %s", k.Node, q.Subject, q.Data), nil
		},
	})
	synctest.Wait()
}

// asks asks, and compares the answers and the machines that are missing.
func (k *machine) asks(data, want, missing string) {
	k.t.Helper()
	got, err := k.Ask(context.Background(), Question{Subject: 7, Data: []byte(data)})
	if err != nil {
		k.t.Errorf("%s: %v", data, err)
	}
	var texts, names []string
	for _, a := range got.Answers {
		text := string(a.Data)
		if a.Err != nil {
			text = fmt.Sprint(a.Node, " says ", a.Err)
		}
		texts = append(texts, text)
	}
	for _, m := range got.Missing {
		names = append(names, string(m.About))
	}
	if s := strings.Join(texts, ", "); s != want {
		k.t.Errorf("%s: got %q, want %q", data, s, want)
	}
	if s := strings.Join(names, ", "); s != missing {
		k.t.Errorf("%s: missing are %q, want %q", data, s, missing)
	}
}

// three runs a test with three machines that know each other. The last one has the number of the first.
func three(t *testing.T, test func(a, b, c *machine)) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b, c := newMachine(t, m, 1), newMachine(t, m, 2), newMachine(t, m, 1+1<<14)
		for _, k := range []*machine{a, b, c} {
			k.introduce()
		}
		test(a, b, c)
	})
}

// TestAsk: every other machine answers once, without any waiting; those that do not are named after two seconds.
func TestAsk(t *testing.T) {
	three(t, func(a, b, c *machine) {
		began := time.Now()
		a.asks("x", "2: 7 x, 16385: 7 x", "")
		b.asks("y", "1: 7 y, 16385: 7 y", "")
		c.asks("z", "1: 7 z, 2: 7 z", "")
		a.asks("fail", "2 says no idea, 16385 says no idea", "")
		a.asks("long", "2 says the answer is too large, 16385 says the answer is too large", "")
		b.plane.set(&b.plane.twice, true)
		a.plane.set(&a.plane.twice, true)
		a.asks("twice", "2: 7 twice, 16385: 7 twice", "")
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no time", took)
		}
		b.plane.set(&b.plane.cut, true)
		a.asks("x", "16385: 7 x", "about 2")
		if took := time.Since(began); took != askLimit {
			t.Errorf("took %v, want %v", took, askLimit)
		}
		b.plane.set(&b.plane.cut, false)
		a.asks("wait", "", "about 2, about 16385") // their answers come too late
		a.asks("x", "2: 7 x, 16385: 7 x", "")
		got := a.Stats()
		if got.Asked != 7 || got.Unanswered != 3 || got.Malformed != 0 || got.LostDirected != 0 {
			t.Errorf("got %+v, want 7 asked and 3 unanswered", got)
		}
	})
}

// TestAskInTrouble: who cannot be asked, and what is not known, is an error.
func TestAskInTrouble(t *testing.T) {
	three(t, func(a, b, c *machine) {
		a.plane.set(&a.plane.full, true)
		if _, err := a.Ask(context.Background(), Question{}); !errors.Is(err, backplane.ErrOverloaded) {
			t.Errorf("got %v, want that nobody can be asked", err)
		}
		a.plane.set(&a.plane.full, false)
		done := make(chan struct{})
		ask := func() {
			for range maxAsks {
				go func() { // ends with the answer
					_, _ = a.Ask(context.Background(), Question{Data: []byte("wait")})
					done <- struct{}{}
				}()
			}
			synctest.Wait()
		}
		b.plane.set(&b.plane.cut, true)
		ask()
		if _, err := a.Ask(context.Background(), Question{}); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		if got := c.Stats().QuestionsRefused; got != maxAsks-maxReplies {
			t.Errorf("%d questions were not answered, want %d", got, maxAsks-maxReplies)
		}
		for range maxAsks {
			<-done
		}
		b.plane.set(&b.plane.cut, false)
		pass(2 * time.Second) // until the last late answer
		a.asks("x", "2: 7 x, 16385: 7 x", "")
		if got := a.Stats().QuestionsRefused; got != 1 {
			t.Errorf("%d questions were refused, want 1", got)
		}
	})
}

// simple hides the directory of a backplane.
type simple struct{ backplane.Backplane }

// TestAskWithoutDirectory: nobody knows who is missing, so the answers of two seconds are all.
func TestAskWithoutDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		a.Backplane = simple{a.plane}
		a.asks("x", "2 says the machine is starting", "")
		b.introduce()
		began := time.Now()
		a.asks("x", "2: 7 x", "")
		if took := time.Since(began); took != askLimit {
			t.Errorf("took %v, want %v", took, askLimit)
		}
	})
}

// TestAnnounce: a machine is known from its introduction to its end, or to that of its lease.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(medium)
		a, b := newMachine(t, m, 1), newMachine(t, m, 2)
		known := func(want int) {
			t.Helper()
			if got := a.Stats().Machines; got != want {
				t.Errorf("got %d machines, want %d", got, want)
			}
		}
		known(0)
		a.introduce()
		known(1)
		b.introduce()
		pass(announceEvery)
		known(2)
		pass(time.Hour)
		known(2)
		b.plane.set(&b.plane.full, true) // its announcements fail
		pass(lease + announceEvery)
		known(1)
		if b.Stats().AnnounceErr == nil {
			t.Error("it is not told why it is not known")
		}
		b.plane.set(&b.plane.full, false)
		pass(announceEvery + announceAgain)
		known(2)
		if err := b.Stats().AnnounceErr; err != nil {
			t.Errorf("got %v of earlier", err)
		}
		c := newMachine(t, m, 3)
		c.introduce()
		pass(announceEvery)
		known(3)
		c.end()
		pass(announceEvery)
		known(2)
	})
}

// TestAskOverParts: while a part of the backplane is away, all machines answer by the others. An answer is given once.
func TestAskOverParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &medium{parts: 3}
		a, b, c := newMachine(t, m, 1), newMachine(t, m, 2), newMachine(t, m, 3)
		for _, k := range []*machine{a, b, c} {
			k.introduce()
		}
		for gone := range 4 {
			m.mu.Lock()
			m.gone = gone
			m.mu.Unlock()
			began := time.Now()
			a.asks("x", "2: 7 x, 3: 7 x", "")
			b.asks("y", "1: 7 y, 3: 7 y", "")
			c.asks("z", "1: 7 z, 2: 7 z", "")
			if took := time.Since(began); took != 0 {
				t.Errorf("without part %d: took %v, want no time", gone, took)
			}
		}
		if got := b.Stats().Answered; got != 8 {
			t.Errorf("got %d answers, want 8", got)
		}
	})
}

// TestAskAfterLoss: a directory that has lost its memory hides nobody: it is told that there may be others, and those
// answer. All are announced again soon.
func TestAskAfterLoss(t *testing.T) {
	three(t, func(a, b, c *machine) {
		pass(announceEvery)
		a.plane.mu.Lock()
		clear(a.plane.known)
		a.plane.mu.Unlock()
		got, err := a.Ask(context.Background(), Question{Data: []byte("x")})
		if !errors.Is(err, ErrDirectory) || len(got.Answers) != 2 || len(got.Missing) != 0 {
			t.Errorf("got %+v, %v; want two answers, and that there may be more", got, err)
		}
		pass(announceEvery)
		a.asks("x", "2: 7 x, 16385: 7 x", "")
		a.plane.mu.Lock()
		clear(a.plane.known)
		a.plane.mu.Unlock()
		for _, k := range []*machine{a, b, c} { // the connection was lost, too
			k.plane.setCut(true)
			k.plane.setCut(false)
		}
		began := time.Now()
		a.asks("x", "2: 7 x, 16385: 7 x", "")
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no time", took)
		}
	})
}
