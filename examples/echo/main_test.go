package main

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite/expeditetest"
	"github.com/expedite-go/expedite/ws"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	c := expeditetest.Start(t, setup).Dial("/echo")
	for _, text := range []string{"", "hello", strings.Repeat("x", 64<<10)} {
		c.Send(text)
		if got := c.Receive(); got != text {
			t.Errorf("got %d bytes, want the %d that were sent", len(got), len(text))
		}
	}
	c.Send([]byte{0, 255})
	if got := c.ReceiveBinary(); string(got) != "\x00\xff" {
		t.Errorf("got %q, want the bytes that were sent", got)
	}
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	c := expeditetest.Start(t, setup).Dial("/echo")
	c.Send(strings.Repeat("x", 64<<10+1))
	if code, reason := c.Closed(); code != ws.CloseMessageTooBig {
		t.Errorf("got %d %q, want %d", code, reason, ws.CloseMessageTooBig)
	}
}
