package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/redistest"
)

// machineVariable is set in the processes that run the program itself.
const machineVariable = "EXPEDITE_TEST_MACHINE"

func TestMain(m *testing.M) {
	if os.Getenv(machineVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// startMachine starts the program, and returns where it serves.
func startMachine(t *testing.T, redis string) (addr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-redis", redis)
	cmd.Env = append(os.Environ(), machineVariable+"=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for lines.Scan() { // a full pipe would stop it
			t.Log(lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the machine ended with %v", err)
		}
	})
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "serving on http://"); ok {
			return addr
		}
	}
	t.Fatal("the machine does not serve")
	return ""
}

// guest is a client of the chat.
type guest struct {
	*websocket.Conn
	t   *testing.T
	ctx context.Context
}

func enter(ctx context.Context, t *testing.T, addr, name string) *guest {
	t.Helper()
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/chat?room=go&name="+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	g := &guest{c, t, ctx}
	g.hears(name + " joined")
	return g
}

func (g *guest) says(text string) {
	g.t.Helper()
	if err := g.Write(g.ctx, websocket.MessageText, []byte(text)); err != nil {
		g.t.Fatal(err)
	}
}

// hears reads until a message contains a text.
func (g *guest) hears(want string) {
	g.t.Helper()
	for {
		_, b, err := g.Read(g.ctx)
		if err != nil {
			g.t.Fatalf("while it waits for %q: %v", want, err)
		}
		if strings.Contains(string(b), want) {
			return
		}
	}
}

// TestTwoMachines: the chat works as its comment says.
func TestTwoMachines(t *testing.T) {
	redis := redistest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*redistest.Patience)
	defer cancel()
	one, two := startMachine(t, redis.URL()), startMachine(t, redis.URL())
	alice, bob := enter(ctx, t, one, "alice"), enter(ctx, t, two, "bob")
	redistest.Until(t, "both machines listen", func() bool {
		return strings.HasSuffix(redis.Do("PUBSUB", "NUMSUB", "expedite:0:room:go"), "\n2")
	})
	carol := enter(ctx, t, one, "carol")
	alice.says("hello")
	bob.hears("alice: hello")
	carol.hears("alice: hello")
	alice.says("@bob psst")
	bob.hears("alice to you: psst")
	bob.says("@alice hm?")
	alice.hears("bob to you: hm?")

	redis.Kill()
	for range 3 {
		alice.says("is bob there?")
		carol.hears("alice: is bob there?")
	}
	redis.Restart()
	redistest.Until(t, "both machines listen again", func() bool {
		return strings.HasSuffix(redis.Do("PUBSUB", "NUMSUB", "expedite:0:room:go"), "\n2")
	})
	alice.says("hello again")
	bob.hears("alice: hello again")
}
