package main

import (
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/expeditetest"
	"github.com/expedite-go/expedite/internal/redistest"
)

// TestTwoMachines: a room and private messages span machines, and while Redis is away, those of one machine talk on.
func TestTwoMachines(t *testing.T) {
	redis := redistest.Start(t)
	machine := func() *expeditetest.Server {
		return expeditetest.Start(t, func(cfg expedite.Config) (*expedite.App, error) {
			cfg.Sessions.Redis = redis.URL()
			return setup(cfg)
		})
	}
	one, two := machine(), machine()
	alice, _ := enter(one, "/chat/go", "alice")
	bob, _ := enter(two, "/chat/go", "bob")
	carol, _ := enter(one, "/chat/go", "carol")
	both := func() bool { return strings.HasSuffix(redis.Do("PUBSUB", "NUMSUB", "expedite:0:room:go"), "\n2") }
	redistest.Until(t, "both machines listen", both)
	alice.Send(event{Text: "hello"})
	bob.hears(t, "alice: hello")
	carol.hears(t, "alice: hello")
	alice.Send(event{Text: "psst", To: "bob"})
	bob.hears(t, "alice: psst")

	redis.Kill()
	alice.Send(event{Text: "is bob there?"})
	carol.hears(t, "alice: is bob there?")
	redis.Restart()
	redistest.Until(t, "both machines listen again", both)
	alice.Send(event{Text: "hello again"})
	for bob.until("said").Text != "hello again" {
	}
}
