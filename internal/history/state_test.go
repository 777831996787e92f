package history

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/topic"
)

func saved(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteState(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// filled returns a Store with two topics.
func filled(t testing.TB) *Store {
	s, c := newStore(t, 1<<20)
	for _, name := range []string{"a", "b", "a", "b", "b"} {
		s.Append([]byte(name), broker.Kept{Opcode: 1, Except: 7, Payload: []byte(name)})
		c.at = c.at.Add(time.Second)
	}
	return s
}

// TestStateForm: the state is a contract between releases.
func TestStateForm(t *testing.T) {
	s, _ := newStore(t, 1<<20)
	s.Append([]byte("a"), broker.Kept{Opcode: 0x81, Except: 7, Payload: []byte("pay")})
	s.topics["a"].epoch = 5
	const zero = "\x00\x00\x00\x00\x00\x00\x00"
	const at = "\x00\x00\x64\xa7\xb3\xb6\xe0\x0d"
	want := "\x01\x00\x00\x00" + "\x00" + zero + "\x00" + zero + "\x00" + zero + "\x00" + zero +
		"\x01\x00a" + "\x05" + zero + "\x01" + zero + at + "\x01" + zero +
		at + "\x07" + zero + "\x81" + "\x03\x00\x00\x00pay" + "\x00\x00"
	if got := saved(t, s); string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestOtherRules: a Store with other rules keeps what they keep.
func TestOtherRules(t *testing.T) {
	b := saved(t, filled(t))
	var other topic.Rules[Rule]
	p, _ := topic.ParsePattern("b")
	other.Add(p, Rule{2, time.Hour})
	s, c := newStore(t, 1<<20)
	s.Rules = other
	if err := s.ReadState(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Topics != 1 || got.Messages != 2 {
		t.Errorf("got %+v, want one topic with two", got)
	}
	c.at = c.at.Add(-time.Hour) // as if the clock had been set back meanwhile
	small, _ := newStore(t, overheadTopic+overheadMessage+2)
	if err := small.ReadState(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if got := small.Stats(); got.Bytes > small.MaxBytes {
		t.Errorf("got %+v, want what fits", got)
	}
}

// TestReadStateRefuses: a state that was cut off or is of another version is refused, and leaves nothing.
func TestReadStateRefuses(t *testing.T) {
	b := saved(t, filled(t))
	for n := range b {
		s, _ := newStore(t, 1<<20)
		if err := s.ReadState(bytes.NewReader(b[:n])); !errors.Is(err, ErrState) || len(s.topics) > 0 || s.stats != (Stats{}) {
			t.Fatalf("cut at %d: got %v, %d topics, want ErrState, none", n, err, len(s.topics))
		}
	}
	b[0] = 2
	s, _ := newStore(t, 1<<20)
	if err := s.ReadState(bytes.NewReader(b)); !errors.Is(err, ErrState) {
		t.Errorf("another version: got %v, want ErrState", err)
	}
}

// FuzzReadState: no bytes break a Store, and what it has read it writes again.
func FuzzReadState(f *testing.F) {
	f.Add(saved(f, filled(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := newStore(t, 1<<20)
		if err := s.ReadState(bytes.NewReader(b)); err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatalf("got %v, want ErrState", err)
			}
			return
		}
		want := s.Stats()
		next, _ := newStore(t, 1<<20)
		if err := next.ReadState(bytes.NewReader(saved(t, s))); err != nil || next.Stats() != want {
			t.Fatalf("got %v, %+v, want %+v", err, next.Stats(), want)
		}
		if want.Bytes > 1<<20 || want.Bytes < 0 {
			t.Fatalf("got %+v", want)
		}
	})
}
