package traffic

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// sabotage is what a server leaves out of a handoff on purpose, and what shows it.
type sabotage struct {
	name, variable string // variable is EXPEDITE_DAMAGE; a number is a record of a connection's state
	cfg            Config
	fails          bool // the reload: without the record the state makes no sense, and nobody notices but who reloads
	scene          func(s *server, run *Run) error
}

// noSabotage is the control of the controls: the same build and the same scene, undamaged.
const noSabotage = "nothing"

// Of the state's records these are not here, as no client can see them: the address of the peer (0x03), that a Drain
// callback is owed (0x0b).
var sabotages = []sabotage{
	{name: "nothing", variable: noSabotage, cfg: everybody(), scene: reloads},
	{name: "phase", variable: "0x02", cfg: Config{Small: 20}, fails: true, scene: reloads},
	{name: "id", variable: "0x01", cfg: Config{Small: 20}, fails: true, scene: reloads},
	{name: "path", variable: "0x05", cfg: Config{Small: 20}, fails: true, scene: reloads},
	{name: "times", variable: "0x04", cfg: Config{Small: 20}, scene: reloads},
	{name: "owner", variable: "0x06", cfg: Config{Topics: 5, SubscribersPerTopic: 1}, scene: reloads},
	{name: "topics", variable: "0x07", cfg: Config{Topics: 5, SubscribersPerTopic: 1}, scene: reloads},
	{name: "reader", variable: "0x08", cfg: Config{Dribbling: 20}, scene: reloads},
	{name: "inbound", variable: "0x09", cfg: Config{Fragmented: 20}, scene: reloads},
	{name: "frames", variable: "0x0c", cfg: Config{Slow: 20}, scene: reloads},
	{name: "pinned", variable: "0x0d", cfg: Config{Slow: 20}, scene: reloads},
	{name: "letters", variable: "0x0f", cfg: Config{Counting: 100, Rate: 400}, scene: reloads},
	{name: "carried", variable: "0x10", cfg: Config{Counting: 20}, scene: reloads},
	{name: "position", variable: "position", cfg: Config{Topics: 1, SubscribersPerTopic: 40, Rate: 1000}, scene: reloads},
	{name: "forward", variable: "forward", cfg: Config{Directed: 200, Rate: 50}, scene: reloads},

	{name: "nothing, late predecessor", variable: noSabotage, cfg: pairs(), scene: latePredecessor},
	{name: "hold", variable: "hold", cfg: pairs(), scene: latePredecessor},
	{name: "nothing, late primary", variable: noSabotage, cfg: publishers(), scene: latePrimary},
	{name: "fence", variable: "fence", cfg: publishers(), scene: latePrimary},
	{name: "nothing, last words", variable: noSabotage, cfg: Config{Small: 1}, scene: lastWords},
	{name: "loop bits", variable: "0x0a", cfg: Config{Small: 1}, scene: lastWords},
	{name: "ending", variable: "0x0e", cfg: Config{Small: 1}, fails: true, scene: lastWords},
}

// everybody is a crowd of all kinds.
func everybody() Config {
	cfg := Mix("", 200)
	cfg.Rate = 20
	return cfg
}

func pairs() Config { return Config{Directed: 100, Rate: 100} }

func publishers() Config { return Config{Topics: 40, SubscribersPerTopic: 1, Rate: 100} }

// TestDamagedHandoff: a server that leaves out any part of a handoff is found out. This is the proof that clean reports
// of other tests mean something.
func TestDamagedHandoff(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "damaged")
	if out, err := exec.Command("go", "test", "-c", "-tags", "damage", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range sabotages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := launch(t, binary, serverConfig{Workers: 1}, "EXPEDITE_DAMAGE="+tt.variable)
			cfg := tt.cfg
			cfg.Addr, cfg.Patience = s.addr, 500*time.Millisecond
			if tt.variable == noSabotage || tt.fails {
				cfg.Patience = patience
			}
			run := start(t, cfg)
			err := tt.scene(s, run)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r := run.Stop(ctx)
			var problem string
			if len(r.Problems) > 0 {
				problem = r.Problems[0]
			}
			t.Logf("%v; %d disconnected, %d bad, %d lost, %d doubled, %d reordered, %d not closed: %.200s",
				err, r.Disconnected, r.Bad, r.Lost, r.Doubled, r.Reordered, r.CloseFailed, problem)
			_, failed := errors.AsType[*control.RollError](err)
			switch {
			case tt.variable == noSabotage:
				if err != nil || r.Err() != nil {
					t.Error("undamaged, and somebody complains")
				}
			case failed != tt.fails:
				t.Errorf("got %v, want a reload that fails: %v", err, tt.fails)
			case err == nil && r.Err() == nil:
				t.Errorf("nobody complains: %+v", r)
			}
		})
	}
}

// quiet is a reload that lets the primary be.
var quiet = control.ReloadRequest{KeepPrimary: true}

// reloads replaces workers until somebody complains, or enough is enough.
func reloads(s *server, run *Run) error {
	for range 5 {
		if _, err := s.reload(quiet); err != nil {
			return err
		}
		heard := run.arrivals.Load()
		late := time.Now().Add(time.Second)
		until(s.t, "clients hear something", func() bool {
			return run.arrivals.Load() > heard+50 || run.Snapshot().Err() != nil || time.Now().After(late)
		})
		if run.Snapshot().Err() != nil || time.Now().After(late) { // it may be that nobody hears anything any more
			break
		}
	}
	return nil
}

// said is how many broadcasts and directed messages the clients have sent.
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

// latePrimary lets the primary do nothing from early in a move until clients that have moved have said a lot: what they
// said before waits for it on another way than what they say now.
func latePrimary(s *server, run *Run) error {
	return s.interrupted(run, func(old, next int) (pid int) {
		s.under(next, 300)
		return s.cmd.Process.Pid
	})
}

// latePredecessor lets the old worker do nothing at the end of a move until a lot of directed messages wait for it: it
// has to pass them on when the new one could have its own already.
func latePredecessor(s *server, run *Run) error {
	return s.interrupted(run, func(old, next int) (pid int) {
		s.under(next, 300)
		spin(s.t, "the last connections to leave", func() bool { return descriptors(old) < spareFDs })
		return old
	})
}

// interrupted stops a process in the middle of moves, until a lot was said.
func (s *server) interrupted(run *Run, when func(old, next int) (pid int)) error {
	f := s.echoers(1000) // they give the time to do so
	for range 5 {
		end := s.reloading(quiet)
		pid := when(s.pair())
		if syscall.Kill(pid, syscall.SIGSTOP) == nil { // it may have ended
			said := run.said()
			until(s.t, "clients say something", func() bool { return run.said() > said+2000 })
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		if r := <-end; r.err != nil {
			return r.err
		}
		heard := run.arrivals.Load()
		until(s.t, "clients hear something", func() bool { return run.arrivals.Load() > heard+3000 })
		if run.Snapshot().Err() != nil {
			break
		}
	}
	f.all()
	return nil
}
