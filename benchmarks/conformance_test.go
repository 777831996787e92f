package main

import (
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/expedite-go/expedite/internal/conformance"
)

// gwsAnswering answers a ping with its payload: by itself, gws sends an empty pong.
type gwsAnswering struct{ gwsHandler }

// OnPing implements gws.Event.
func (*gwsAnswering) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

// fatal lists the cases that end the process of gws 1.8.9: a frame with such a length panics in its read loop.
var fatal = []string{"shortest-length: length with its highest bit set", "shortest-length: length of 2^64-1"}

// TestConformanceFindsFaults runs the conformance suite of this repository against a gws server, as a negative control:
// rules that gws is known to break must be found broken, and those that it keeps must not.
func TestConformanceFindsFaults(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := gws.NewServer(&gwsAnswering{}, &gws.ServerOption{
		CheckUtf8Enabled:   true,
		Recovery:           gws.Recovery,
		ReadMaxPayloadSize: conformance.LargestMessage,
		Authorize: func(r *http.Request, session gws.SessionStorage) bool {
			session.Store("path", r.URL.Path)
			return true
		},
	})
	go func() { _ = s.RunListener(ln) }() // ends with the process: gws accepts again and again, also from a closed listener
	target := &conformance.Target{
		Name: "gws", Addr: ln.Addr().String(), Path: "/echo", Features: []conformance.Feature{conformance.Limited},
		Patience: 3 * time.Second,
	}
	r := conformance.Report{Rules: conformance.Rules()}
	for i := range r.Rules {
		r.Rules[i].Cases = slices.DeleteFunc(r.Rules[i].Cases, func(c conformance.Case) bool {
			return slices.Contains(fatal, r.Rules[i].ID+": "+c.Name)
		})
	}
	if r.Results, err = conformance.Run(target, &conformance.Plan{Name: "whole"}, r.Rules); err != nil {
		t.Fatal(err)
	}
	broken, weak := r.Broken(false), r.Broken(true)
	t.Logf("%d rules, broken: %q, weak or broken: %q", r.Run(), broken, weak)
	for _, id := range []string{"key", "shortest-length", "utf8-fail-fast"} {
		if !slices.Contains(broken, id) {
			t.Errorf("%s: the suite did not find it broken", id)
		}
	}
	for _, id := range []string{"accept", "many-frames", "unmasking", "pong-payload", "utf8-valid", "binary-is-bytes"} {
		if slices.Contains(weak, id) {
			t.Errorf("%s: the suite found it broken", id)
		}
	}
	for _, b := range r.Bad() {
		t.Logf("%s, %s: %s: %s", b.Rule, b.Case, b.Outcome, b.Detail)
	}
}
