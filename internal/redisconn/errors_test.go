package redisconn

import (
	"errors"
	"testing"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
)

// TestUnknownCommand: a server that does not know a command is unavailable. The program is not at fault.
func TestUnknownCommand(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "PUBLISH", "")
	c, err := Open(server.URL(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Wait(t.Context())
	if err := c.Publish(t.Context(), "channel", "message"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want session.ErrUnavailable", err)
	}
}

// TestPassing tells errors that pass from those that do not.
func TestPassing(t *testing.T) {
	server := redistest.Start(t)
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct {
		command []string
		want    bool
	}{
		{[]string{"NOSUCHCOMMAND"}, true},
		{[]string{"GET"}, false},
		{[]string{"PUBLISH", "one argument"}, false},
	} {
		err := c.Do(t.Context(), c.B().Arbitrary(tt.command...).Build()).Error()
		if got := Passing(err); err == nil || got != tt.want {
			t.Errorf("%q: got %v for %v", tt.command, got, err)
		}
	}
	if !Passing(errors.New("the connection is lost")) {
		t.Error("a lost connection is no error that passes")
	}
}

// TestText: another package shows errors without the name of this one, and without secrets; a missing password is told
// with what to do.
func TestText(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "pw")
	c, err := Open("redis://"+server.Addr(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Wait(t.Context())
	_, noPassword := c.Client()
	for err, want := range map[error]string{
		noPassword:                                      errPassword.Error(),
		session.Unavailable(errConnecting):              "not connected to Redis yet",
		Error(errors.New("the connection is lost")):     "the connection is lost",
		errors.New("ERR unknown command, with args pw"): "ERR unknown command",
	} {
		if got := Text(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
