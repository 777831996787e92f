package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/expeditetest"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	c := expeditetest.Start(t, setup).Dial("/ws")
	c.Send("hello")
	if got := c.Receive(); got != "hello" {
		t.Errorf("got %q, want hello", got)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	if res := s.Do(httptest.NewRequest("GET", "/", nil)); !strings.Contains(res.Body.String(), "new WebSocket") {
		t.Errorf("got %d %s, want a page", res.Code, res.Body)
	}
	if res := s.Do(httptest.NewRequest("GET", "/readyz", nil)); res.Code != 200 {
		t.Errorf("readyz: got %d %s", res.Code, res.Body)
	}
}
