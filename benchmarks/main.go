//go:build linux

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// scenario is one row of the result.
type scenario struct {
	name  string
	conns int
	depth int // messages in flight per connection; in total for broadcasts
	size  int // bytes of a message
}

var echoes = []scenario{{"echo 20 B", 100, 1, 20}, {"echo 20 B", 500, 1, 20}, {"echo 20 B", 100, 16, 20}}

var broadcasts = []scenario{{"broadcast 20 B", 1000, 1, 20}, {"broadcast 20 B", 1000, 16, 20}}

// roles maps a first argument to a function with flags of its own: benchmarks that compare nothing, and the processes
// that benchmarks start.
var roles = map[string]func(args []string) error{
	"server": runServer, "handoff": runHandoff, "handoff-server": serveHandoff, "handoff-clients": runClients,
	"million": runMillion, "tuning": runTuning, "tuning-server": serveTuning,
	"machines": runMachines, "machine": serveMachine, "tls": runTLS, "tls-crowd": runCrowd,
}

func main() {
	if len(os.Args) > 1 {
		if run := roles[os.Args[1]]; run != nil {
			exit(run(os.Args[2:]))
			return
		}
	}
	rounds := flag.Int("rounds", 5, "rounds per server")
	length := flag.Duration("time", 2*time.Second, "length of a round")
	idle := flag.Int("idle", 15000, "connections of the idle scenario")
	only := flag.String("only", "", "compressed scenarios whose name contains this")
	before := flag.String("before", "", "earlier build of this program, whose server is compared too; `FILE`")
	flag.Parse()
	names := serverNames
	if *before != "" {
		names = slices.Insert(slices.Clone(names), 1, *before)
	}
	what := flag.Args()
	if len(what) == 0 {
		what = []string{"echo", "broadcast", "idle", "compressed", "compressed-memory"}
	}
	for _, w := range what {
		switch w {
		case "echo":
			exit(compare(names, echoes, "/echo", *rounds, *length))
		case "broadcast":
			exit(compare(names, broadcasts, "/broadcast", *rounds, *length))
		case "idle":
			exit(idleMemory(names, *idle))
		case "compressed":
			exit(compareCompressed(*rounds, *length, *only))
		case "compressed-memory":
			exit(compressedMemory(1000, *length))
		default:
			exit(fmt.Errorf("unknown scenario %q: want echo, broadcast, idle, compressed, compressed-memory, handoff, "+
				"machines, million or tuning", w))
		}
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// compare measures the scenarios with each server in turn.
func compare(names []string, list []scenario, path string, rounds int, length time.Duration) error {
	runtime.LockOSThread()
	for _, sc := range list {
		cpu := make(map[string][]float64)
		rate := make(map[string][]float64)
		for range rounds {
			for _, name := range names {
				r, err := measure(name, path, sc, length)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				cpu[name] = append(cpu[name], r.cpuPerMessage)
				rate[name] = append(rate[name], r.perSecond)
			}
		}
		fmt.Printf("%s, %d connections, %d in flight\n", sc.name, sc.conns, sc.depth)
		ours := median(cpu[names[0]])
		for _, name := range names {
			fmt.Printf("  %-16s %8.3f us CPU per message (least %.3f)  %9.0f messages/s  %5.2f times ours\n",
				filepath.Base(name), median(cpu[name]), slices.Min(cpu[name]), median(rate[name]), median(cpu[name])/ours)
		}
	}
	return nil
}

type result struct{ cpuPerMessage, perSecond float64 }

// measure runs one round against a new server.
func measure(name, path string, sc scenario, length time.Duration) (result, error) {
	s, err := startServer(name)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	l, err := newShaped(s.addr, path, sc.conns, shape{sc.size, secured(name)})
	if err != nil {
		return result{}, err
	}
	defer l.close()
	talkers := sc.conns
	if path == "/broadcast" {
		talkers = 1
	}
	if err := l.begin(talkers, sc.depth); err != nil {
		return result{}, err
	}
	if _, err := l.run(length / 4); err != nil { // warm-up
		return result{}, err
	}
	before, start := s.cpu(), time.Now()
	messages, err := l.run(length)
	if err != nil {
		return result{}, err
	}
	used, took := s.cpu()-before, time.Since(start)
	return result{
		cpuPerMessage: float64(used.Nanoseconds()) / 1000 / float64(messages),
		perSecond:     float64(messages) / took.Seconds(),
	}, nil
}

// silence is how long clients with TLS are silent before their memory is measured again: Expedite drops their ciphers.
const silence = 16 * time.Second

// idleMemory opens n idle connections and reports each server's memory.
func idleMemory(names []string, n int) error {
	runtime.LockOSThread()
	fmt.Printf("idle, %d connections\n", n)
	for _, name := range names {
		s, err := startServer(name)
		if err != nil {
			return err
		}
		before, err := s.memory()
		if err != nil {
			return err
		}
		l, err := newShaped(s.addr, "/echo", n, shape{payloadLen, secured(name)})
		if err != nil {
			return err
		}
		after, err := s.memory()
		if err != nil {
			return err
		}
		report := func(name, when string) {
			fmt.Printf("  %-16s %7.0f bytes per connection (heap and stacks in use after a collection%s); resident set %.0f\n",
				name, float64(after.InUse-before.InUse)/float64(n), when, float64(after.Resident-before.Resident)/float64(n))
		}
		report(filepath.Base(name), "")
		if secured(name) {
			time.Sleep(silence)
			if after, err = s.memory(); err != nil {
				return err
			}
			report("", fmt.Sprintf(", silent for %v", silence))
		}
		l.close()
		s.stop()
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
