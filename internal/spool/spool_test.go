package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
)

// gate is a writer that blocks while it is shut.
type gate struct {
	open chan struct{}
	b    bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	return g.b.Write(b)
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := New(10)
	w := NewWriter(g, q)
	for _, s := range []string{"first\n", "2\n", "does not fit\n", "nor this", " and its end\n", "x\n"} {
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Errorf("Write(%q) = %d, %v", s, n, err)
		}
	}
	if got, want := q.Lost(), uint64(len("does not fit\nnor this and its end\n")); got != want {
		t.Errorf("%d bytes lost, want %d", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush of a stuck queue: %v", err)
	}
	close(g.open)
	if err := q.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := g.b.String(), "first\n2\nx\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

func TestLineWhoseEndIsDroppedIsEnded(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := New(10)
	w := NewWriter(g, q)
	_, _ = io.WriteString(w, "begun")
	_, _ = io.WriteString(w, " and ended\nbegun")
	close(g.open)
	_ = q.Flush(t.Context())
	_, _ = io.WriteString(w, " of what was dropped\nwhole\n")
	_ = q.Flush(t.Context())
	if got, want := g.b.String(), "begun\nwhole\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

func TestWriteThatFailsOrPanicsIsLost(t *testing.T) {
	q := New(10)
	q.Put(2, func() error { return io.ErrClosedPipe })
	q.Put(3, func() error { panic("handler") })
	_ = q.Flush(t.Context())
	if got := q.Lost(); got != 5 {
		t.Errorf("lost %d, want 5", got)
	}
}

func TestDropLeavesNothingBehind(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := New(100)
	w := NewWriter(g, q)
	for range 3 {
		_, _ = io.WriteString(w, "line\n")
	}
	q.Drop()
	close(g.open)
	_ = q.Flush(t.Context())
	if got := q.Lost() + uint64(g.b.Len()); got != 15 || q.Lost() < 10 {
		t.Errorf("lost %d, written %q", q.Lost(), g.b.String())
	}
}

func TestClosedQueueWritesAtOnce(t *testing.T) {
	q := New(10)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := false
	q.Put(1, func() error { done = true; return nil })
	if !done {
		t.Error("not written when Put returned")
	}
}

func TestHandlerIsOneOfSlog(t *testing.T) {
	var b bytes.Buffer
	q := New(1000)
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		b.Reset()
		return NewHandler(slog.NewJSONHandler(&b, nil), q)
	}, func(t *testing.T) map[string]any {
		_ = q.Flush(t.Context())
		return parse(t, b.Bytes())
	})
}

func TestHandlerReportsLosses(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := New(2)
	l := slog.New(NewHandler(slog.NewTextHandler(g, nil), q))
	for range 7 {
		l.Info("line")
	}
	close(g.open)
	_ = q.Flush(t.Context())
	if got := g.b.String(); strings.Count(got, "msg=line\n") != 2 || strings.Count(got, "lines=5\n") != 1 {
		t.Errorf("log:\n%s", got)
	}
}

func TestValuesAreThoseOfTheCall(t *testing.T) {
	type point struct{ X, Y int }
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			g := &gate{open: make(chan struct{})}
			q := New(10)
			q.Put(1, func() error { <-g.open; return nil })
			l := slog.New(NewHandler(handler(&b), q))
			p, list := &point{1, 2}, []string{"a"}
			l.Info("m", "p", p, "list", list, "error", errors.New("e"), "nil", nil)
			p.X, list[0] = 9, "z"
			close(g.open)
			_ = q.Flush(t.Context())
			got := b.String()
			var plain bytes.Buffer
			slog.New(handler(&plain)).Info("m", "p", &point{1, 2}, "list", []string{"a"}, "error", errors.New("e"), "nil", nil)
			if behind(got, "msg") != behind(plain.String(), "msg") {
				t.Errorf("got  %swant %s", got, plain.String())
			}
		})
	}
}

// behind returns the text after the first name.
func behind(s, name string) string {
	_, s, _ = strings.Cut(s, name)
	return s
}

func parse(t *testing.T, b []byte) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
