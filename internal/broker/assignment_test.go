package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
)

// assignments are of every kind.
func assignments() []broker.Assignment {
	return []broker.Assignment{
		{Of: "\x00user:a", Topic: "t"},
		{Leave: true, Conn: 7, Except: 8, Topic: "t"},
		{Session: []byte("s"), Topic: "t"},
	}
}

// TestAssignmentForm: the bytes are those that other machines understand.
func TestAssignmentForm(t *testing.T) {
	a := broker.Assignment{Leave: true, Of: "\x00u", Except: 8, Topic: "t"}
	if got, want := fmt.Sprintf("%x", a.Append(nil)),
		"0100"+"02020075"+"0300"+"04080000000000000000"+"05080800000000000000"+"060174"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAssignmentRefuses: an assignment names connections in one way, and a topic of the application.
func TestAssignmentRefuses(t *testing.T) {
	for name, a := range map[string]broker.Assignment{
		"nobody":           {Topic: "t"},
		"two":              {Of: "a", Conn: 7, Topic: "t"},
		"no topic":         {Conn: 7},
		"a reserved topic": {Conn: 7, Topic: "\x00user:a"},
	} {
		if _, err := broker.ParseAssignment(a.Append(nil)); !errors.Is(err, broker.ErrAssignment) {
			t.Errorf("%s: got %v, want ErrAssignment", name, err)
		}
	}
}

// FuzzAssignment: any bytes are an assignment or an error, and an assignment means the same after it was written.
func FuzzAssignment(f *testing.F) {
	for _, a := range assignments() {
		f.Add(a.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := broker.ParseAssignment(b)
		if err != nil {
			return
		}
		again, err := broker.ParseAssignment(a.Append(nil))
		if err != nil || again.Leave != a.Leave || again.Of != a.Of || !bytes.Equal(again.Session, a.Session) ||
			again.Conn != a.Conn || again.Except != a.Except || again.Topic != a.Topic {
			t.Fatalf("got %+v, %v; want %+v", again, err, a)
		}
	})
}
