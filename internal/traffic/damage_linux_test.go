package traffic

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// sabotage names a part of a handoff that the server leaves out on purpose, and the test that detects it.
type sabotage struct {
	name, variable string // variable is the value of EXPEDITE_DAMAGE; a number names a record of a connection's state
	cfg            Config
	tls            bool // the clients use TLS
	fails          bool // the reload must fail: without the record the state is invalid, and clients notice nothing
	idle           int  // silent clients that move first, which leaves time to interfere with the move
	scene          func(s *server, run *Run) error
}

// noSabotage runs the same build and scene without damage, as a control.
const noSabotage = "nothing"

// Two records of the state are not tested because no client can observe them: the peer's address (0x03) and a pending
// Drain callback (0x0b).
var sabotages = []sabotage{
	{name: "nothing", variable: noSabotage, cfg: everybody(), scene: reloads},
	{name: "phase", variable: "0x02", cfg: Config{Small: 20}, fails: true, scene: reloads},
	{name: "id", variable: "0x01", cfg: Config{Small: 20}, fails: true, scene: reloads},
	{name: "path", variable: "0x05", cfg: Config{Small: 20}, fails: true, scene: reloads},
	// Without this record, the connection's last activity dates from the machine's start, longer ago than IdleTimeout.
	{name: "times", variable: "0x04", cfg: Config{Small: 20}, scene: reloads},
	{name: "owner", variable: "0x06", cfg: Config{Topics: 5, SubscribersPerTopic: 1}, scene: reloads},
	{name: "nothing, expiry", variable: noSabotage, cfg: Config{Small: 1}, scene: expires},
	{name: "expiry", variable: "0x81", cfg: Config{Small: 1}, scene: expires},
	{name: "topics", variable: "0x07", cfg: Config{Topics: 5, SubscribersPerTopic: 1}, scene: reloads},
	{name: "reader", variable: "0x08", cfg: Config{Dribbling: 20}, scene: reloads},
	{name: "inbound", variable: "0x09", cfg: Config{Fragmented: 20}, scene: reloads},
	{name: "frames", variable: "0x0c", cfg: Config{Slow: 20}, scene: reloads},
	{name: "pinned", variable: "0x0d", cfg: Config{Slow: 20}, scene: reloads},
	{name: "nothing, compression", variable: noSabotage, cfg: compressed(), scene: reloads},
	{name: "deflate", variable: "0x12", cfg: compressed(), fails: true, scene: reloads},
	{name: "received window", variable: "0x13", cfg: compressed(), scene: reloads},
	{name: "linked frames", variable: "0x15", cfg: Config{Slow: 40, Compression: true}, scene: reloads},
	{name: "letters", variable: "0x0f", cfg: Config{Counting: 100, Rate: 400}, scene: reloads},
	{name: "carried", variable: "0x10", cfg: Config{Counting: 20}, scene: reloads},
	{name: "position", variable: "position", cfg: Config{Topics: 1, SubscribersPerTopic: 40, Rate: 1000}, scene: reloads},
	{name: "forward", variable: "forward", cfg: Config{Directed: 200, Rate: 50}, scene: reloads},

	{name: "one state", variable: "one", cfg: Config{Small: 20}, scene: keepsOne},

	{name: "nothing, TLS", variable: noSabotage, cfg: everybody(), tls: true, scene: reloads},
	{name: "TLS", variable: "0x17", cfg: Config{Small: 20}, tls: true, fails: true, scene: reloads},
	{name: "sequence number", variable: "sequence", cfg: Config{Small: 20}, tls: true, scene: reloads},
	{name: "secret", variable: "secret", cfg: Config{Small: 20}, tls: true, scene: reloads},
	{name: "opening sequence number", variable: "opening sequence", cfg: Config{Small: 20}, tls: true, scene: reloads},
	{name: "opening secret", variable: "opening secret", cfg: Config{Small: 20}, tls: true, scene: reloads},
	{name: "begun record", variable: "begun", cfg: Config{Dribbling: 40, Rate: 50}, tls: true, scene: reloads},
	{name: "sealed record", variable: "sealed", cfg: Config{Slow: 20}, tls: true, scene: reloadsLater},

	{name: "nothing, late predecessor", variable: noSabotage, cfg: pairs(), idle: 1000, scene: latePredecessor},
	{name: "hold", variable: "hold", cfg: pairs(), idle: 1000, scene: often(latePredecessor)},
	{name: "nothing, late primary", variable: noSabotage, cfg: publishers(), idle: 1000, scene: latePrimary},
	{name: "fence", variable: "fence", cfg: publishers(), idle: 1000, scene: often(latePrimary)},
	{name: "nothing, last words", variable: noSabotage, cfg: Config{Small: 1}, scene: lastWords},
	{name: "loop bits", variable: "0x0a", cfg: Config{Small: 1}, scene: lastWords},
	{name: "ending", variable: "0x0e", cfg: Config{Small: 1}, scene: lastWords},
}

// compressed returns the Config of clients with compression. The record 0x14, the sent window, is not tested because no
// client can observe it: without it, the server only compresses worse.
func compressed() Config { return Config{Small: 40, Rate: 20, Compression: true} }

// everybody returns the Config of a mix of all kinds of clients.
func everybody() Config {
	cfg := Mix("", 200)
	cfg.Rate = 20
	return cfg
}

func takeoverIf(compression bool) expedite.Compression {
	if compression {
		return expedite.CompressionTakeover
	}
	return expedite.CompressionOff
}

func pairs() Config { return Config{Directed: 100, Rate: 100} }

func publishers() Config { return Config{Topics: 40, SubscribersPerTopic: 1, Rate: 100} }

// TestDamagedHandoff checks that the clients notice whatever part of a handoff a server leaves out. It shows that clean
// reports in other tests are meaningful.
func TestDamagedHandoff(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "damaged")
	if out, err := exec.Command("go", "test", "-c", "-tags", "damage", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range sabotages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "times" { // of a machine that has been up for three minutes
				<-time.After(3*time.Minute - time.Duration(monotonic(t)))
			}
			cfg, of := tt.cfg, serverConfig{Workers: 1, Compression: takeoverIf(tt.cfg.Compression)}
			if tt.tls {
				cfg.TLS = secured(t, &of)
			}
			s := launch(t, binary, of, "EXPEDITE_DAMAGE="+tt.variable)
			idle := s.echoers(tt.idle)
			cfg.Addr, cfg.Patience = s.addr, 500*time.Millisecond
			if tt.variable == noSabotage || tt.fails {
				cfg.Patience = patience
			}
			run := start(t, cfg)
			err := tt.scene(s, run)
			idle.all()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r := run.Stop(ctx)
			var problem string
			if len(r.Problems) > 0 {
				problem = r.Problems[0]
			}
			t.Logf("%v; %d disconnected, %d bad, %d lost, %d doubled, %d reordered, %d not closed: %.200s",
				err, r.Disconnected, r.Bad, r.Lost, r.Doubled, r.Reordered, r.CloseFailed, problem)
			_, failed := errors.AsType[*control.Error](err)
			switch {
			case tt.variable == noSabotage:
				if err != nil || r.Err() != nil {
					t.Error("got a fault without damage, want a clean report")
				}
			case failed != tt.fails:
				t.Errorf("got %v, want a failed reload: %v", err, tt.fails)
			case err == nil && r.Err() == nil:
				t.Errorf("got a clean report in spite of the damage: %+v", r)
			}
		})
	}
}

// seen is like quiet, with a canary phase that leaves time to find the successor.
var seen = control.ReloadRequest{KeepPrimary: true, CanarySeconds: 0.2}

// monotonic returns the time of the clock used in states, in ns.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// quiet requests a reload that keeps the primary.
var quiet = control.ReloadRequest{KeepPrimary: true}

// reloads replaces workers five times, or until a client reports a fault or the traffic stops.
func reloads(s *server, run *Run) error {
	for range 5 {
		if _, err := s.reload(quiet); err != nil {
			return err
		}
		heard := run.arrivals.Load()
		late := time.Now().Add(time.Second)
		until(s.t, "messages to the clients", func() bool {
			return run.arrivals.Load() > heard+50 || run.Snapshot().Err() != nil || time.Now().After(late)
		})
		if run.Snapshot().Err() != nil || time.Now().After(late) { // the damage may have silenced all clients
			break
		}
	}
	return nil
}

// reloadsLater is reloads when the clients have more to read than sockets hold.
func reloadsLater(s *server, run *Run) error {
	until(s.t, "messages to the clients", func() bool { return run.arrivals.Load() > 3000 })
	return reloads(s, run)
}

// keepsOne reloads once: the connection whose state cannot be read is drained, and the others move.
func keepsOne(s *server, _ *Run) error {
	res, err := s.reload(quiet)
	if err == nil && (res.Moved != 19 || res.Drained != 1 || res.DrainedWhy["refused"] != 1) {
		s.t.Errorf("got %+v, want 19 moved and 1 drained", res)
	}
	return err
}

// expires moves clients whose token expires soon. It returns an error unless all of them are closed for that reason.
func expires(s *server, _ *Run) error {
	brief := s.call(5, func(i int) string { return fmt.Sprintf("%s?access_token=brief-%d", pathCount, i) })
	if _, err := s.reload(quiet); err != nil {
		return err
	}
	late := time.After(3 * briefLife)
	for i, c := range brief.list {
		select {
		case <-c.gone:
		case <-late:
			return fmt.Errorf("client %d outlives its token", i)
		}
		if c.told != expedite.CloseUnauthorized {
			return fmt.Errorf("client %d was closed with %d", i, c.told)
		}
	}
	return nil
}

// said returns the number of broadcasts and directed messages that the clients have sent.
func (r *Run) said() (n uint64) {
	for _, c := range r.clients {
		switch p := c.player.(type) {
		case *listener:
			if c.sender == p.topic.publisher {
				n += p.topic.sent.Load()
			}
		case *directed:
			p.mu.Lock()
			n += p.sent
			p.mu.Unlock()
		}
	}
	return n
}

// often is a scene that is repeated until the damage shows: it needs luck with what runs when.
func often(scene func(s *server, run *Run) error) func(s *server, run *Run) error {
	return func(s *server, run *Run) (err error) {
		for tries := 0; tries < 6 && err == nil && run.Snapshot().Err() == nil; tries++ {
			err = scene(s, run)
		}
		return err
	}
}

// latePrimary delays publications in the old worker while their publishers move and publish more. It stops the primary
// early in a move, until more has been published than the sockets between the primary and the old worker hold. Then it
// stops the old worker instead, so that the primary first receives the publications of the new one.
func latePrimary(s *server, run *Run) error {
	flood := s.call(20, func(i int) string { return fmt.Sprintf("%s?topic=flood-%d", pathTopic, i) })
	for range 3 {
		end := s.reloading(seen)
		old, next := s.pair()
		s.under(next, 1)
		strike(s.t, s.cmd.Process.Pid, syscall.SIGSTOP)
		// Otherwise the primary would stay stopped after a failure.
		s.t.Cleanup(func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) })
		// Separate goroutines write, because the messages may not be read before the primary continues.
		for _, c := range flood.list {
			flood.work.Go(func() { _ = c.send(ws.OpBinary, make([]byte, 100<<10), cut{}) })
		}
		s.later(func() bool { return descriptors(old) < spareFDs }) // a correct worker waits for the primary
		_ = syscall.Kill(old, syscall.SIGSTOP)                      // fails if the worker has already ended
		said := run.said()
		until(s.t, "messages from the clients", func() bool { return run.said() > said+500 })
		heard := run.arrivals.Load()
		strike(s.t, s.cmd.Process.Pid, syscall.SIGCONT)
		s.later(func() bool { return run.arrivals.Load() > heard+500 })
		_ = syscall.Kill(old, syscall.SIGCONT)
		if r := <-end; r.err != nil {
			return r.err
		}
		if run.Snapshot().Err() != nil {
			break
		}
	}
	return nil
}

// later waits until ok, for at most 400 ms.
func (s *server) later(ok func() bool) {
	late := time.Now().Add(400 * time.Millisecond)
	until(s.t, "some time", func() bool { return ok() || time.Now().After(late) })
}

// latePredecessor stops the old worker at the end of a move until many directed messages are waiting for it. The old
// worker must forward these, while the new one may already receive newer messages directly.
func latePredecessor(s *server, run *Run) error {
	for range 3 {
		end := s.reloading(seen)
		old, next := s.pair()
		s.under(next, 300)
		spin(s.t, "the last connections to leave", func() bool { return descriptors(old) < spareFDs })
		if syscall.Kill(old, syscall.SIGSTOP) == nil { // the worker may have ended
			said := run.said()
			until(s.t, "messages from the clients", func() bool { return run.said() > said+2000 })
			_ = syscall.Kill(old, syscall.SIGCONT)
		}
		if r := <-end; r.err != nil {
			return r.err
		}
		heard := run.arrivals.Load()
		until(s.t, "messages to the clients", func() bool { return run.arrivals.Load() > heard+3000 })
		if run.Snapshot().Err() != nil {
			break
		}
	}
	return nil
}
